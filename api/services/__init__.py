"""What happens between a request that was read and an answer that is sent."""
