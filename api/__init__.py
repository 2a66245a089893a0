"""The HTTP surface that OpenAI clients speak to."""
