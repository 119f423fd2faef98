"""Calls the gateway as a program with Anthropic's SDK does: anthropic_client.py BASE_URL KEY CALL [SECOND_KEY]"""

import sys

import anthropic

base_url, key, call, *second_key = sys.argv[1:]
# A second key goes into a header of its own beside the first, as happens where an agent has several settings.
more = {"x-api-key": second_key[0]} if second_key else {}
client = anthropic.Anthropic(base_url=base_url, api_key=key, default_headers=more, max_retries=0)
prompt = {
    "model": "claude-mock",
    "max_tokens": 64,
    "messages": [{"role": "user", "content": "Hello"}],
}


def models():
    return ",".join(model.id for model in client.models.list())


def message():
    return client.messages.create(**prompt).content[0].text


def stream():
    with client.messages.stream(**prompt) as events:
        return "".join(events.text_stream)


try:
    print({"models": models, "message": message, "stream": stream}[call]())
except anthropic.AuthenticationError as error:
    assert error.body["request_id"] == error.response.headers["x-request-id"]
    print(f"AuthenticationError {error.status_code} {error.body['error']['type']}: {error.body['error']['message']}")
