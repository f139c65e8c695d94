"""The remote calls of the official client: one small function each, from request JSON to reply JSON."""

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from .world import STORAGE, World, now, zipped

Json = dict[str, Any]
RULES = "You must accept this competition's rules before you'll be able to download files."


class Refused(Exception):
    """An answer with an error status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


class Redirect(Exception):
    """An answer that sends the client elsewhere."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class Body(Exception):
    """An answer that is a file itself."""

    def __init__(self, content: bytes) -> None:
        super().__init__("a file")
        self.content = content


def introspect(world: World, ask: Json, user: str) -> Json:
    owner = world.tokens.get(ask.get("token", ""))
    return {"active": True, "username": owner, "userId": 7, "exp": 2_000_000_000} if owner else {"active": False}


def list_files(world: World, ask: Json, user: str) -> Json:
    _competition(world, ask)
    start = int(ask.get("pageToken") or 0)
    size = min(int(ask.get("pageSize") or 20), world.page_limit)
    names = sorted(world.files)
    page = [
        {"name": name, "totalBytes": _size(world, name), "creationDate": "2019-12-11T23:47:00.000Z"}
        for name in names[start : start + size]
    ]
    return {"files": page, "nextPageToken": str(start + size) if start + size < len(names) else ""}


def download_file(world: World, ask: Json, user: str) -> Json:
    _competition(world, ask)
    _rules(world)
    name = ask.get("fileName", "")
    if name not in world.files or not world.listed:
        raise Refused(404, "Not found")
    if _size(world, name) >= world.zip_from_bytes:
        raise Redirect(world.sign(f"zipped/{quote(name)}.zip"))
    raise Redirect(world.sign(f"files/{quote(name)}"))


def download_files(world: World, ask: Json, user: str) -> Json:
    _competition(world, ask)
    _rules(world)
    raise Redirect(world.sign("archive.zip"))


def start_upload(world: World, ask: Json, user: str) -> Json:
    token = f"upload-{next(world.numbers)}"
    world.uploads[token] = bytearray()
    world.upload_names[token] = ask.get("name") or ask.get("fileName", "")
    return {"token": token, "createUrl": f"{STORAGE}/upload/{token}?upload_id=planted-upload-{token}"}


def create_submission(world: World, ask: Json, user: str) -> Json:
    _competition(world, ask)
    if ask.get("blobFileTokens") not in world.uploads:
        raise Refused(400, "Invalid file token")
    content = bytes(world.uploads[ask["blobFileTokens"]])
    return _submitted(world, ask, content, "submission.csv", user)


def create_code_submission(world: World, ask: Json, user: str) -> Json:
    _competition(world, ask)
    versions = world.kernels.get(f"{ask.get('kernelOwner')}/{ask.get('kernelSlug')}", [])
    if not 1 <= int(ask.get("kernelVersion") or 0) <= len(versions):
        raise Refused(404, "Not found")
    if ask.get("fileName") not in world.kernel_outputs:
        raise Refused(400, "Submission file not found in the notebook's output")
    return _submitted(world, ask, world.kernel_outputs[ask["fileName"]], ask["fileName"], user)


def _submitted(world: World, ask: Json, content: bytes, name: str, user: str) -> Json:
    if len(world.submissions) >= world.daily_limit:
        raise Refused(400, f"You have used all {world.daily_limit} of your submissions for today.")
    ref = 1000 + len(world.submissions)
    submission = {
        "ref": ref,
        "totalBytes": len(content),
        "date": now(),
        "description": ask.get("submissionDescription", ""),
        "fileName": name,
        "status": "PENDING",
        "submittedBy": user,
        "_polls": world.polls_until_scored,
        "_score": world.score(content),
    }
    world.submissions.insert(0, submission)
    return {"message": "Successfully submitted to Deepfake Detection Challenge", "ref": ref}


def get_submission(world: World, ask: Json, user: str) -> Json:
    for submission in world.submissions:
        if submission["ref"] == ask.get("ref"):
            return _polled(submission)
    raise Refused(404, "Not found")


def list_submissions(world: World, ask: Json, user: str) -> Json:
    return {"submissions": [_polled(submission) for submission in world.submissions], "nextPageToken": ""}


def _polled(submission: Json) -> Json:
    if submission["status"] == "PENDING":
        submission["_polls"] -= 1
        if submission["_polls"] < 0:
            failed = not submission["_score"]
            submission["status"] = "ERROR" if failed else "COMPLETE"
            submission["errorDescription" if failed else "publicScore"] = submission["_score"] or "Scoring Error"
    return {key: value for key, value in submission.items() if not key.startswith("_")}


def limits(world: World, ask: Json, user: str) -> Json:
    used = len(world.submissions)
    return {"numToday": used, "numTotal": used, "numAllowedNow": max(0, world.daily_limit - used)}


def leaderboard(world: World, ask: Json, user: str) -> Json:
    start, size = int(ask.get("pageToken") or 0), int(ask.get("pageSize") or 20)
    rows = world.leaderboard[start : start + size]
    return {"submissions": rows, "nextPageToken": str(start + size) if start + size < len(world.leaderboard) else ""}


def download_leaderboard(world: World, ask: Json, user: str) -> Json:
    lines = ["TeamId,TeamName,SubmissionDate,Score"]
    lines += [f"{row['teamId']},{row['teamName']},{row['submissionDate']},{row['score']}" for row in world.leaderboard]
    raise Body(zipped({f"{world.slug}-publicleaderboard.csv": "\n".join([*lines, ""]).encode()}))


def save_kernel(world: World, ask: Json, user: str) -> Json:
    ref = ask.get("slug", "")
    if ref.partition("/")[0] != user:
        raise Refused(403, "Permission 'kernels.update' was denied")
    unknown = [name for name in ask.get("datasetDataSources", []) if name not in world.datasets]
    versions = world.kernels.setdefault(ref, [])
    versions.append({**ask, "_statuses": list(world.kernel_statuses)})
    return {
        "ref": f"/code/{ref}",
        "url": f"https://www.kaggle.com/code/{ref}",
        "versionNumber": len(versions),
        "invalidDatasetSources": unknown,
    }


def kernel_status(world: World, ask: Json, user: str) -> Json:
    statuses = _kernel(world, ask)["_statuses"]
    status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
    return {"status": status, "failureMessage": world.kernel_failure} if status == "ERROR" else {"status": status}


def kernel_output(world: World, ask: Json, user: str) -> Json:
    _kernel(world, ask)
    start, size = int(ask.get("pageToken") or 0), int(ask.get("pageSize") or 20)
    names = sorted(world.kernel_outputs)
    files = [{"fileName": name, "url": world.sign(f"outputs/{name}")} for name in names[start : start + size]]
    more = start + size < len(names)
    return {"files": files, "log": world.kernel_log, "nextPageToken": str(start + size) if more else ""}


def create_dataset(world: World, ask: Json, user: str) -> Json:
    ref = f"{ask.get('ownerSlug')}/{ask.get('slug')}"
    if ref in world.datasets:
        return {"status": "error", "error": "The requested title is already in use by a dataset."}
    return _dataset_version(world, ref, ask)


def create_dataset_version(world: World, ask: Json, user: str) -> Json:
    ref = f"{ask.get('ownerSlug')}/{ask.get('datasetSlug')}"
    if ref not in world.datasets:
        raise Refused(404, "Not found")
    return _dataset_version(world, ref, ask.get("body", {}))


def _dataset_version(world: World, ref: str, body: Json) -> Json:
    missing = [file for file in body.get("files", []) if file.get("token") not in world.uploads]
    if missing:
        raise Refused(400, "Invalid file token")
    world.datasets.setdefault(ref, []).append({**body, "_polls": world.polls_until_version})
    return {"ref": ref, "url": f"https://www.kaggle.com/datasets/{ref}", "status": "ok"}


def download_dataset(world: World, ask: Json, user: str) -> Json:
    ref = f"{ask.get('ownerSlug')}/{ask.get('datasetSlug')}"
    _dataset(world, ask)
    raise Redirect(world.sign(f"datasets/{ref}/archive.zip"))


def download_model(world: World, ask: Json, user: str) -> Json:
    raise Redirect(world.sign(f"models/{ask.get('ownerSlug')}/{ask.get('modelSlug')}.tar.gz"))


def get_dataset(world: World, ask: Json, user: str) -> Json:
    versions = _dataset(world, ask)
    versions[-1]["_polls"] -= 1
    shown = len(versions) - (versions[-1]["_polls"] >= 0)
    return {"ref": f"{ask['ownerSlug']}/{ask['datasetSlug']}", "currentVersionNumber": shown}


def dataset_status(world: World, ask: Json, user: str) -> Json:
    _dataset(world, ask)
    statuses = world.dataset_statuses
    return {"status": statuses.pop(0) if len(statuses) > 1 else statuses[0]}


def _dataset(world: World, ask: Json) -> list[Json]:
    versions = world.datasets.get(f"{ask.get('ownerSlug')}/{ask.get('datasetSlug')}")
    if not versions:
        raise Refused(403, "Permission 'datasets.get' was denied")
    return versions


def _competition(world: World, ask: Json) -> None:
    if ask.get("competitionName") != world.slug:
        raise Refused(404, "Not found")


def _rules(world: World) -> None:
    if not world.rules_accepted:
        raise Refused(403, RULES)


def _size(world: World, name: str) -> int:
    content = world.files[name]
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def _kernel(world: World, ask: Json) -> Json:
    versions = world.kernels.get(f"{ask.get('userName')}/{ask.get('kernelSlug')}")
    if not versions:
        raise Refused(403, "Permission 'kernels.get' was denied")
    label = str(ask.get("versionLabel") or f"v{len(versions)}")
    if not label.startswith("v") or not 1 <= int(label[1:]) <= len(versions):
        raise Refused(404, "Not found")
    return versions[int(label[1:]) - 1]


COMPETITIONS = "competitions.CompetitionApiService"
KERNELS = "kernels.KernelsApiService"
DATASETS = "datasets.DatasetApiService"
CALLS: dict[str, Callable[[World, Json, str], Json]] = {
    "security.OAuthService/IntrospectToken": introspect,
    f"{COMPETITIONS}/ListDataFiles": list_files,
    f"{COMPETITIONS}/DownloadDataFile": download_file,
    f"{COMPETITIONS}/DownloadDataFiles": download_files,
    f"{COMPETITIONS}/StartSubmissionUpload": start_upload,
    f"{COMPETITIONS}/CreateSubmission": create_submission,
    f"{COMPETITIONS}/CreateCodeSubmission": create_code_submission,
    f"{COMPETITIONS}/GetSubmission": get_submission,
    f"{COMPETITIONS}/ListSubmissions": list_submissions,
    f"{COMPETITIONS}/GetSubmissionLimits": limits,
    f"{COMPETITIONS}/GetLeaderboard": leaderboard,
    f"{COMPETITIONS}/DownloadLeaderboard": download_leaderboard,
    f"{KERNELS}/SaveKernel": save_kernel,
    f"{KERNELS}/GetKernelSessionStatus": kernel_status,
    f"{KERNELS}/ListKernelSessionOutput": kernel_output,
    "blobs.BlobApiService/StartBlobUpload": start_upload,
    f"{DATASETS}/CreateDataset": create_dataset,
    f"{DATASETS}/CreateDatasetVersion": create_dataset_version,
    f"{DATASETS}/DownloadDataset": download_dataset,
    "models.ModelApiService/DownloadModelInstanceVersion": download_model,
    f"{DATASETS}/GetDataset": get_dataset,
    f"{DATASETS}/GetDatasetStatus": dataset_status,
}
OPEN = {"security.OAuthService/IntrospectToken"}  # answered without credentials
