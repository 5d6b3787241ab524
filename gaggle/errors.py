"""The errors of gaggle: the class says whose fault it is, the text what to do. Printed only by `cli`."""

from __future__ import annotations

import json


class GaggleError(Exception):
    """The root of every error that gaggle raises on purpose."""


class InvalidOption(GaggleError):
    """The person gave an option a value that it cannot have.

    `option` is spelled as the person wrote it (flag, variable, or file and key), `value` is what was
    given, `detail` says what is allowed. Prints in the form of Goose's errors.
    """

    def __init__(self, option: str, value: object, detail: str) -> None:
        super().__init__(option, value, detail)
        self.option, self.value, self.detail = option, str(value), detail

    def __str__(self) -> str:
        fields = {"option": self.option, "value": self.value, "detail": self.detail}
        return f"InvalidOption {{ {', '.join(f'{name}: {quoted(text)}' for name, text in fields.items())} }}"


class FeatureNotEnabled(GaggleError):
    """The option needs an extra that is not installed; `detail` has the command that installs it."""

    def __init__(self, feature: str, detail: str) -> None:
        super().__init__(feature, detail)
        self.feature, self.detail = feature, detail

    def __str__(self) -> str:
        return f"FeatureNotEnabled {{ feature: {quoted(self.feature)}, detail: {quoted(self.detail)} }}"


class LoadTestError(GaggleError):
    """The load test cannot be run as it is written; the text names file, line and what to change."""


class RequestError(GaggleError):
    """A request failed; raised only by `Response.raise_for_status`. `response` is the response."""

    def __init__(self, text: str, response: object = None) -> None:
        super().__init__(text)
        self.response = response


class ProtocolError(GaggleError):
    """The peer of a gaggle said something that it may not say, or not now."""


class InternalError(GaggleError):
    """A fault of gaggle itself; shown with its traceback."""


def quoted(text: str) -> str:
    """Return `text` in double quotes, with control characters and quotes escaped."""
    return json.dumps(text, ensure_ascii=False)
