"""Repos of all types, buckets among them: create, find, change, move, delete."""

import re
import sqlite3

from starlette.convertors import Convertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from .accounts import Account, account_of
from .bodies import read_json, require
from .commits import add_commit, first_tree
from .errors import HubError
from .store import Store, now, store_of
from .xet.tokens import grant


class RepoTypeConvertor(Convertor[str]):
    """The plural in an address, as the type of a repo."""

    def __init__(self, plurals: str):
        self.regex = plurals

    def convert(self, value: str) -> str:
        return value.removesuffix("s")

    def to_string(self, value: str) -> str:
        return f"{value}s"


register_url_convertor("repo_type", RepoTypeConvertor("models|datasets|spaces"))
register_url_convertor("bucket", RepoTypeConvertor("buckets"))


def find_repo(request: Request, write: bool = False) -> sqlite3.Row:
    """The repo or bucket in the address of a request, if the caller may read it (with `write`: may change it)."""
    params = request.path_params
    repo_id = f"{params['namespace']}/{params['name']}"
    return named_repo(store_of(request), account_of(request), params.get("repo_type", "model"), repo_id, write)


def named_repo(store: Store, account: Account, repo_type: str, repo_id: str, write: bool = False) -> sqlite3.Row:
    """The repo or bucket `namespace/name`, if `account` may read it (with `write`: may change it)."""
    namespace, _, name = repo_id.partition("/")
    repo = store.row("SELECT * FROM repos WHERE type = ? AND namespace = ? AND name = ?", repo_type, namespace, name)
    if repo is None or not account.may_read(repo):
        raise account.not_found()
    if write:
        account.require_write(namespace)
    return repo


def id_of(repo: sqlite3.Row) -> str:
    return f"{repo['namespace']}/{repo['name']}"


def repo_url(request: Request, repo_type: str, repo_id: str) -> str:
    kind = "" if repo_type == "model" else f"{repo_type}s/"
    return f"{request.base_url}{kind}{repo_id}"


async def without_namespace(request: Request) -> Response:
    """No repo has a name alone, such as `gpt2`."""
    raise account_of(request).not_found()


async def create_bucket(request: Request) -> JSONResponse:
    namespace, name = request.path_params["namespace"], request.path_params["name"]
    namespace = account_of(request).require_user() if namespace == "me" else namespace
    return _create(request, "bucket", namespace, name, await read_json(request))


async def create_repo(request: Request) -> JSONResponse:
    settings = await _read_named(request)
    if settings["type"] not in ("model", "dataset", "space"):
        raise HubError(400, f"There are no repos of the type '{settings['type']}'")
    return _create(request, settings["type"], settings["organization"], settings["name"], settings)


async def _read_named(request: Request) -> dict:
    """A body that names a repo: by default a model, in the namespace of the caller."""
    given = {name: value for name, value in (await read_json(request)).items() if value is not None}
    named = {"type": "model", "organization": account_of(request).require_user(), **given}
    require(named, type=str, organization=str, name=str)
    return named


def _create(request: Request, repo_type: str, namespace: str, name: str, settings: dict) -> JSONResponse:
    store, account = store_of(request), account_of(request)
    account.require_write(namespace)
    repo_id = _valid_id(f"{namespace}/{name}")
    url = repo_url(request, repo_type, repo_id)
    try:
        with store.transaction():
            repo = store.row(
                "INSERT INTO repos (type, namespace, name, private, created_at) VALUES (?, ?, ?, ?, ?) RETURNING *",
                *(repo_type, namespace, name, _wants_private(settings), now()),
            )
            if repo_type != "bucket":
                add_commit(store, repo, "main", None, first_tree(store), "initial commit", "", account.user)
    except sqlite3.IntegrityError as error:
        kind = "bucket" if repo_type == "bucket" else f"{repo_type} repo"
        raise HubError(409, f"You already created this {kind}", url=url) from error
    return JSONResponse({"url": url, "name": repo_id, "id": repo_id})


def _valid_id(repo_id: str) -> str:
    well_formed = re.fullmatch(r"[\w.-]+/\b[\w.-]{1,96}\b", repo_id, re.ASCII)
    if well_formed is None or ".." in repo_id or "--" in repo_id:
        raise HubError(400, f"'{repo_id}' is not a valid bucket name or repo name")
    return repo_id


def _wants_private(settings: dict) -> bool:
    return settings.get("visibility") == "private" or bool(settings.get("private"))  # some say it this way, some that


async def update_settings(request: Request) -> JSONResponse:
    repo = find_repo(request, write=True)
    settings = await read_json(request)
    private = _wants_private(settings) if settings.keys() & {"private", "visibility"} else bool(repo["private"])
    store_of(request).execute("UPDATE repos SET private = ? WHERE id = ?", private, repo["id"])
    return JSONResponse({"private": private})


async def delete_bucket(request: Request) -> Response:
    _delete(request, find_repo(request, write=True))
    return Response(status_code=204)


async def delete_repo(request: Request) -> Response:
    named = await _read_named(request)
    repo_id = f"{named['organization']}/{named['name']}"
    _delete(request, named_repo(store_of(request), account_of(request), named["type"], repo_id, write=True))
    return Response("OK")


def _delete(request: Request, repo: sqlite3.Row) -> None:
    store_of(request).execute("DELETE FROM repos WHERE id = ?", repo["id"])


async def move(request: Request) -> Response:
    """Renames a repo or a bucket, also into another namespace, for who may write in both."""
    store, account = store_of(request), account_of(request)
    named = await read_json(request, fromRepo=str, toRepo=str, type=str)
    repo = named_repo(store, account, named["type"], _valid_id(named["fromRepo"]), write=True)
    destination = _valid_id(named["toRepo"])
    namespace, _, name = destination.partition("/")
    account.require_write(namespace)
    try:
        store.execute("UPDATE repos SET namespace = ?, name = ? WHERE id = ?", namespace, name, repo["id"])
    except sqlite3.IntegrityError as error:
        url = repo_url(request, repo["type"], destination)
        raise HubError(409, f"A {repo['type']} called {destination} already exists", url=url) from error
    return Response("OK")


async def xet_token(request: Request) -> JSONResponse:
    """What opens the Xet storage for reading or writing, for who may do that here."""
    scope = request.path_params["scope"]
    find_repo(request, write=scope == "write")
    return grant(request, scope).response()
