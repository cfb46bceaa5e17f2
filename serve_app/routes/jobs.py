"""Routes of jobs: submit, ask, follow, cancel, fetch."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import FileResponse, Response, StreamingResponse

from pixyz_ray.cluster.engine import Engine
from pixyz_ray.jobs import JobState
from serve_app import schemas
from serve_app.answers import JsonAnswer
from serve_app.attachment import attachment
from serve_app.auth import TokenCheck
from serve_app.description import BINARY, error_responses
from serve_app.errors import BadRequest, TooEarly
from serve_app.file_path import FILE_PATH, name_in
from serve_app.file_response import OpenedFileResponse
from serve_app.pictures import PICTURES, GraphFormat, graph_picture
from serve_app.quick_route import quick_route
from serve_app.streams import EventStream, job_list_stream, log_stream, with_first
from serve_app.upload import read_form

_TEXT_FIELDS = {
    "process": {"type": "string", "default": "custom", "description": "Pre-built process."},
    "params": {"type": "string", "description": "Any JSON value; the entrypoint gets it as it is, {} without it."},
    "name": {"type": "string", "description": "Alias."},
    "config": {
        "type": "string",
        "description": "JSON object: entrypoint, queue, time_limit, compute_only, root_file, strict, ... "
        "Other keys reach the script's context.",
    },
}
_FILE_FIELDS = {
    "script": {"type": "string", "format": "binary", "description": "Required when custom."},
    "file": {"type": "string", "format": "binary", "description": "Input file."},
    "graph": {
        "type": "string",
        "description": "JSON plan of a graph of tasks; there may then be several scripts.",
    },
}
_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {"schema": {"type": "object", "properties": {**_TEXT_FIELDS, **_FILE_FIELDS}}},
            "application/x-www-form-urlencoded": {
                "schema": {"type": "object", "properties": _TEXT_FIELDS, "required": ["process"]}
            },
        },
    }
}
_MAX_KEY_CHARS = 200
_KEYED = {
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "schema": {"type": "string", "minLength": 1, "maxLength": _MAX_KEY_CHARS, "pattern": "^[ -~]+$"},
            "description": "Random text of the client. A request that is sent again with the same key returns the job "
            "that the first one has started.",
        }
    ]
}
_RESUMABLE = {
    "parameters": [
        {
            "name": "Last-Event-ID",
            "in": "header",
            "schema": {"type": "string"},
            "description": "Id of the last event that you have seen.",
        }
    ]
}
_OCTETS = "application/octet-stream"
_FILE: dict[int | str, dict[str, Any]] = {
    200: {"content": {_OCTETS: BINARY}},
    206: {"description": "The part that was asked for.", "content": {_OCTETS: BINARY, "multipart/byteranges": {}}},
    **error_responses(416),
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {}}},
    204: {"description": "The job has ended, and all its events have been seen."},
}
_ARCHIVE: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": BINARY}},
    206: {
        "description": "The part that was asked for.",
        "content": {"application/zip": BINARY, "multipart/byteranges": {}},
    },
    **error_responses(416, 425),
}
_RANGED = {"parameters": [{"name": "Range", "in": "header", "schema": {"type": "string", "example": "bytes=0-99"}}]}


def jobs_router(engine: Engine, check_token: TokenCheck) -> APIRouter:
    """Return the routes of jobs, each of which asks for the token."""
    router = APIRouter(
        prefix="/jobs",
        tags=["jobs"],
        dependencies=[Depends(check_token)],
        responses=error_responses(401, 404),
        route_class=quick_route(check_token),
    )
    for add_routes in (_add_submitting, _add_keeping, _add_asking, _add_following, _add_fetching):
        add_routes(router, engine)
    return router


def _idempotency_key(request: Request) -> str | None:
    """Return the key with which a client may send a request again.

    Raises:
        BadRequest: it is none.
    """
    key = request.headers.get("idempotency-key")
    if key is not None and not (key.isascii() and key.isprintable() and 1 <= len(key) <= _MAX_KEY_CHARS):
        raise BadRequest(f"The header Idempotency-Key must have 1 to {_MAX_KEY_CHARS} printable ASCII characters.")
    return key


def _add_submitting(router: APIRouter, engine: Engine) -> None:
    @router.post("", response_model=schemas.JobState, openapi_extra=_FORM | _KEYED, responses=error_responses(413, 429))
    async def submit_job(request: Request) -> Response:
        """Run a script or a pre-built process. When this answers, the job is on disk."""
        key = _idempotency_key(request)
        if key is None:
            folder = engine.new_folder()
        else:
            folder = engine.folder_for_key(request.state.submitter, key)
            if (known := await engine.submitted(folder)) is not None:
                return JsonAnswer(known)
        try:
            form = await read_form(request, folder, engine.settings)
        except BaseException:
            await engine.discard(folder)
            raise
        accept = engine.submit_graph if form.graph else engine.submit
        form = replace(form, submitter=request.state.submitter)
        return JsonAnswer(await accept(folder, form))

    @router.post("/{uuid}/cancel", response_model=schemas.JobState)
    async def cancel_job(uuid: str) -> Response:
        """Cancel a job. One that has ended stays as it is."""
        return JsonAnswer(await engine.cancel(uuid))

    @router.delete("/{uuid}", response_model=schemas.JobState)
    async def delete_job(uuid: str) -> Response:
        """Cancel a job: the same as the POST to its `cancel`."""
        return JsonAnswer(await engine.cancel(uuid))


def _add_keeping(router: APIRouter, engine: Engine) -> None:
    @router.put("/{uuid}/pin", response_model=schemas.JobState)
    async def pin_job(uuid: str) -> Response:
        """Pin a job: neither it nor its files are removed, however old they get."""
        return JsonAnswer(await engine.pin(uuid, pinned=True))

    @router.delete("/{uuid}/pin", response_model=schemas.JobState)
    async def unpin_job(uuid: str) -> Response:
        """Take the pin away: the job is removed as any other."""
        return JsonAnswer(await engine.pin(uuid, pinned=False))

    @router.post("/{uuid}/remove", response_model=schemas.JobState)
    async def remove_job(uuid: str) -> Response:
        """Remove a job that has ended: its files, its record, and all that it started."""
        return JsonAnswer(await engine.remove(uuid))


def _add_asking(router: APIRouter, engine: Engine) -> None:
    @router.get("", response_model=schemas.JobPage)
    async def list_jobs(
        status: JobState | None = None,
        limit: Annotated[int | None, Query(ge=1, le=1000, description="Jobs in the answer; all without it.")] = None,
        after: Annotated[
            str | None, Query(description="Only jobs older than this one: `next` of the last page.")
        ] = None,
        why: bool = False,
    ) -> Response:
        """List jobs, newest first; with `why`, those that have not begun say what they wait for.

        Without `limit` the answer has all jobs, and is streamed; jobs that come meanwhile are not in it.
        """
        if limit is None:
            portions = engine.all_jobs(state=status, after=after, why=why)
            # An error in the first portion still gets its own status code.
            first = await anext(portions)
            return StreamingResponse(job_list_stream(first, portions), media_type="application/json")
        jobs = await engine.page(state=status, limit=limit, after=after, why=why)
        return JsonAnswer({"jobs": jobs, "next": jobs[-1]["uuid"] if len(jobs) == limit else None})

    @router.get("/{uuid}", response_model=schemas.JobState)
    async def get_job(uuid: str) -> Response:
        """Tell how a job stands."""
        return JsonAnswer(await engine.state(uuid))

    @router.get("/{uuid}/details", response_model=schemas.JobDetails)
    async def get_details(uuid: str) -> Response:
        """Tell all that is known of a job."""
        return JsonAnswer(await engine.details(uuid))

    @router.get("/{uuid}/graph", response_model=schemas.GraphView, responses=PICTURES)
    async def get_graph(uuid: str, format: GraphFormat = "json") -> Response:
        """Tell what a job's script started: the graph of its tasks, as JSON or as a picture."""
        view = await engine.graph(uuid)
        return JsonAnswer(view) if format == "json" else await graph_picture(view, format)


def _add_following(router: APIRouter, engine: Engine) -> None:
    @router.get("/{uuid}/events", openapi_extra=_RESUMABLE, responses=_EVENTS)
    async def get_events(request: Request, uuid: str) -> Response:
        """Follow a job: server-sent events `status`, `step` and `log`, taken up after Last-Event-ID."""
        events = await engine.events(uuid, request.headers.get("last-event-id"))
        return Response(status_code=204) if events.over else EventStream(events)

    @router.get("/{uuid}/logs", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def get_logs(
        uuid: str, follow: bool = False, offset: Annotated[int, Query(ge=0, le=1 << 62)] = 0
    ) -> Response:
        """Return what the script printed, from a byte offset on; with `follow` until the job ends."""
        await engine.state(uuid)
        stream = log_stream(engine, uuid, offset, follow=follow)
        first = await anext(stream)
        return StreamingResponse(with_first(first, stream), media_type="text/plain; charset=utf-8")


def _add_fetching(router: APIRouter, engine: Engine) -> None:
    @router.get("/{uuid}/outputs", response_model=schemas.OutputList)
    async def list_outputs(uuid: str) -> Response:
        """List a job's outputs as relative paths."""
        return JsonAnswer({"outputs": await engine.outputs(uuid)})

    @router.get("/{uuid}/outputs/archive", response_class=FileResponse, openapi_extra=_RANGED, responses=_ARCHIVE)
    async def get_archive(uuid: str) -> Response:
        """Download a zip of all outputs; 425 while the job or the packing is not done."""
        archive = await engine.archive(uuid)
        if archive is None:
            raise TooEarly("The job or the packing of its outputs is not done. Ask again in a moment.")
        return OpenedFileResponse(archive, media_type="application/zip", headers=attachment(f"{uuid}.zip"))

    @router.get(
        f"/{{uuid}}/outputs/{{path:{FILE_PATH}}}", response_class=FileResponse, openapi_extra=_RANGED, responses=_FILE
    )
    async def get_output(request: Request, uuid: str, path: str) -> Response:
        """Download one output; Range works."""
        if not path:
            raise BadRequest("Name the output that you want.")
        file = await engine.output(uuid, name_in(request, path))
        return OpenedFileResponse(file, media_type=_OCTETS, headers=attachment(file.name))
