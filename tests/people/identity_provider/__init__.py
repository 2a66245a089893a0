"""The identity provider that single sign-on is tested against: npm's oidc-provider, run by node."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.clients.environments import node_environment
from tests.live_server import free_port

HERE = Path(__file__).resolve().parent
CLIENT_ID = "patchbay"
CLIENT_SECRET = "client-secret-do-not-leak"


class IdentityProvider:
    """The provider on a free port, until the block ends. `people` maps a login to that person's claims."""

    def __init__(self, redirect_uri: str, people: dict[str, dict[str, Any]]) -> None:
        self._environment = node_environment("identity_provider", HERE.parent)
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._folder = tempfile.TemporaryDirectory(prefix="patchbay-idp-")
        self._people = Path(self._folder.name) / "people.json"
        self._configuration = Path(self._folder.name) / "configuration.json"
        self._log = Path(self._folder.name) / "log.txt"
        self._process: subprocess.Popen[str] | None = None
        client = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "redirect_uris": [redirect_uri]}
        self._configuration.write_text(
            json.dumps(
                {"issuer": self.issuer, "port": self.port, "clients": [client], "people": str(self._people)}
            )
        )
        self.know(people)

    def know(self, people: dict[str, dict[str, Any]]) -> None:
        """From now on these are all the people there are."""
        self._people.write_text(json.dumps(people))

    def settings(self) -> dict[str, str]:
        """What the proxy needs to use this provider."""
        return {
            "OIDC_ISSUER": self.issuer,
            "OIDC_CLIENT_ID": CLIENT_ID,
            "OIDC_CLIENT_SECRET": CLIENT_SECRET,
            "OIDC_GROUP_MAP": "proxy-admins=Owner,proxy-staff=Viewer,proxy-staff=Operator",
            "OIDC_ALLOWED_DOMAINS": "example.com",
        }

    def __enter__(self) -> Self:
        with self._log.open("w") as log:
            self._process = subprocess.Popen(
                ["node", str(HERE / "server.mjs"), str(self._environment), str(self._configuration)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.strip() == "ready":
                return self
        raise RuntimeError(f"The identity provider did not start:\n{self._log.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._folder.cleanup()

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            process.wait(timeout=15)
            if process.stdout is not None:
                process.stdout.close()
