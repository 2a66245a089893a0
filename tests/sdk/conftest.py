from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from openai import AsyncOpenAI, OpenAI

from tests.clients.stack import Stack, running_stack, stack

__all__ = ["running_stack", "stack"]


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    """The newest openai-python, set up as the documentation says, without retries of its own."""
    with OpenAI(api_key="any-token", base_url=stack.base_url, max_retries=0, timeout=20) as client:
        yield client


@pytest.fixture
async def async_client(stack: Stack) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(api_key="any-token", base_url=stack.base_url, max_retries=0, timeout=20) as client:
        yield client
