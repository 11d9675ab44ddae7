"""`LocalHub`: starts the local Hub as a process of its own and steers it."""

import http.client
import json
import secrets
import subprocess
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from .faults import Fault
from .traffic import SECRET_HEADER, Request


_PATIENCE = 10  # seconds for a polite stop


class LocalHub:
    """A local Hub in a subprocess, from start to stop. It dies with the process that started it.

    Args:
        directory (`str` or `Path`):
            Folder for the data, created if missing. What is in it is served again.
        port (`int`, *optional*, defaults to 0):
            Port on 127.0.0.1. 0 picks a free one, which then stays over `stop` and `start`.
        namespace (`str`, *optional*, defaults to `"demo"`):
            Name of the user whose token is [`LocalHub.token`], and of the namespace this token may write in.
        token (`str`, *optional*):
            The text of that token. By default one is drawn at random; it stays the same over `stop` and `start`.

    Example:

    ```py
    >>> import os
    >>> import subprocess
    >>> from transformers_buckets.local_hub import LocalHub

    >>> with LocalHub("hub-data") as hub:
    ...     hub.fault("GET /api/buckets", status=503)  # the client will have to try twice
    ...     subprocess.run(["hf", "buckets", "list"], env=os.environ | hub.environment())
    ```
    """

    def __init__(self, directory: str | Path, port: int = 0, namespace: str = "demo", token: str | None = None):
        self.directory = Path(directory)
        self.port = port
        self.namespace = namespace
        self.token = token
        self._secret = secrets.token_hex(32)
        self._process: subprocess.Popen | None = None

    def __enter__(self) -> "LocalHub":
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def endpoint(self) -> str:
        """Address of the Hub, the value for `HF_ENDPOINT`."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Process id of the running server."""
        return self._process.pid

    def environment(self) -> dict[str, str]:
        """The variables that lead a client process here."""
        return {"HF_ENDPOINT": self.endpoint, "HF_TOKEN": self.token}

    def start(self) -> None:
        """Starts the server and returns once it answers. After a stop: on the same port and folder.

        Raises:
            [`RuntimeError`]: If the server ends instead, because the port is taken or another Hub serves the folder.
        """
        # In a session of its own, so that Ctrl+C reaches the tests or the training before it ends the server.
        self._process = subprocess.Popen(
            [sys.executable, "-m", "transformers_buckets.local_hub.testing"],
            **dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True),
        )
        orders = {"directory": str(self.directory), "port": self.port, "namespace": self.namespace}
        self._process.stdin.write(json.dumps({**orders, "token": self.token, "secret": self._secret}) + "\n")
        self._process.stdin.flush()
        report = self._process.stdout.readline()
        if not report:
            status = self._process.wait()
            raise RuntimeError(f"The local Hub did not start (exit status {status}). Its error is printed above.")
        started = json.loads(report)
        self.port, self.token = started["port"], started["token"]

    def stop(self) -> None:
        """Lets running requests finish for up to a second, then ends the server. Does nothing if it does not run."""
        if self._process is not None:
            self._process.stdin.close()
            self._wait()

    def kill(self) -> None:
        """Ends the server by SIGKILL, in the middle of whatever it does. Does nothing if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.stdin.close()
            self._wait()

    def _wait(self) -> None:
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._process = None

    def create_token(self, user: str, rights: dict[str, str]) -> str:
        """Makes a token for a user, who is created with it.

        Args:
            user (`str`):
                Name of the user.
            rights (`dict[str, str]`):
                Namespace to `"read"` (its private buckets and repos too) or `"write"`. What is public, everyone reads.
        """
        return self._call("create_token", user=user, rights=rights)

    def revoke_token(self, token: str) -> None:
        """From now on `token` is answered with 401, as one that has expired."""
        self._call("revoke_token", token=token)

    def set_quota(self, namespace: str, limit: int | None) -> None:
        """Refuses (403) batches that would bring the buckets of a namespace above `limit` bytes; None lifts it."""
        self._call("set_quota", namespace=namespace, limit=limit)

    def requests(self, match: str | None = None) -> list[Request]:
        """The requests since the last [`LocalHub.clear_requests`] (or start), in the order of their arrival.

        Args:
            match (`str`, *optional*):
                Regular expression, searched in `METHOD /path?query`. All requests if missing.
        """
        return [Request(**request) for request in self._call("requests", match=match)]

    def clear_requests(self) -> None:
        """Empties the request log."""
        self._call("clear_requests")

    def fault(self, match: str, **kind: object) -> int:
        """Makes requests go wrong. A request takes the first fault that matches it.

        Args:
            match (`str`):
                Regular expression, searched in `METHOD /path?query` (percent-decoded).
            **kind:
                What goes wrong, how often: the fields of [`Fault`].

        Returns:
            `int`: The number of the fault, which it also names in its error messages.

        Example:

        ```py
        >>> hub.fault("POST /api/buckets/demo/my-run/batch", lose_response=True)
        >>> hub.fault("GET /xorbs/", cut=1000, times=None)
        >>> hub.fault("GET .*/tree", body="<html>Please sign in</html>", skip=2)  # the third one
        ```
        """
        return self._call("fault", **asdict(Fault(match, **kind)))

    def clear_faults(self) -> None:
        """Removes all faults."""
        self._call("clear_faults")

    def hold(self, match: str) -> None:
        """Keeps requests that match waiting, before they have any effect, until [`LocalHub.release`].

        Example:

        ```py
        >>> hub.hold("POST .*/batch")
        >>> upload = Thread(target=api.batch_bucket_files, args=["demo/my-run"], kwargs={"add": files})
        >>> upload.start()
        >>> hub.wait_for("POST .*/batch")  # the files are uploaded, but not yet in the bucket
        >>> hub.release()
        ```
        """
        self._call("hold", match=match)

    def release(self) -> None:
        """Lets all held requests go on, and holds none any more."""
        self._call("release")

    def wait_for(self, match: str, timeout: float = 30) -> Request:
        """Returns as soon as the log has a request that matches: it has arrived, it need not be answered.

        Args:
            match (`str`):
                Regular expression, searched in `METHOD /path?query`.
            timeout (`float`, *optional*, defaults to 30):
                Seconds, until it is a [`TimeoutError`].
        """
        found = self._call("wait_for", match=match, timeout=timeout)
        if found is None:
            raise TimeoutError(f"No request that matches '{match}' has arrived within {timeout} seconds.")
        return Request(**found)

    def _call(self, command: str, **arguments: object) -> object:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port)) as connection:
            headers = {SECRET_HEADER: self._secret}
            connection.request("POST", f"/_local_hub/{command}", json.dumps(arguments), headers)
            response = connection.getresponse()
            answer = json.load(response)
        if response.status != 200:
            raise ValueError(answer["error"])
        return answer
