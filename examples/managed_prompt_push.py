# /// script
# requires-python = ">=3.11"
# dependencies = ["langchain-promptrun"]
# [tool.uv.sources]
# langchain-promptrun = { path = "..", editable = true }
# ///
"""A managed prompt that changes while the program runs: the server pushes each change, and no call waits for it.

With a key, PROMPTRUN_PROJECT_ID names the project of the prompt. The program ends after the first change.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import TYPE_CHECKING

from promptrun_or_offline import run

from langchain_promptrun import PromptrunPrompt

if TYPE_CHECKING:
    from langchain_promptrun.testing import PromptrunServer


def main() -> None:
    """Show the text, wait for a change, and show the difference."""
    with PromptrunPrompt(updates="auto", missing="keep") as prompt:
        print(prompt.format_messages()[0].text)
        print("Publish another version of the prompt.", file=sys.stderr)
        old, new = next(iter(prompt.watch()))
        print(f"version {old.version} -> {new.version}: {new.prompt}")


def rehearse(server: PromptrunServer) -> None:
    """Have a project, and somebody who publishes a second version of its prompt."""
    project = server.prompts.create("Guide")
    project.publish("Answer {{audience}} in one sentence.")
    os.environ["PROMPTRUN_PROJECT_ID"] = project.id

    def publish() -> None:
        server.wait_until(lambda: any(request.in_flight for request in tuple(server.requests)), 60)
        threading.Event().wait(1)
        project.publish("Answer {{ reader.name }} with a riddle.")

    threading.Thread(target=publish, daemon=True).start()


if __name__ == "__main__":
    run(main, rehearse)
