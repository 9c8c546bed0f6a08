"""Publishes a packed bundle: on a Hugging Face hub, or in a folder laid out as MONAI's model zoo."""

from __future__ import annotations

import hashlib
import json
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from breastkit.atomic import atomic_path, make_folder, refuse_unwritable, replaced_folder, write_json
from breastkit.bundle import Bundle
from breastkit.errors import BreastkitError
from breastkit.models.packing import pack_bundle
from breastkit.temporary import temporary_folder
from breastkit.weights import check_hash

HUB = "hf://"
MODEL_INFO = "model_info.json"


def publish_bundle(
    bundle: str,
    *,
    to: str,
    public: bool = False,
    source: str | None = None,
    dry_run: bool = False,
    models: str | None = None,
) -> str:
    """Publishes a bundle as 'breastkit models pack' packs it, where ``python -m monai.bundle download`` fetches it.

    Args:
        bundle: its name, or the zip that 'breastkit models pack' wrote.
        to: hf://OWNER/REPOSITORY, on the hub that HF_ENDPOINT names and with the token of 'hf auth login' or HF_TOKEN;
            or the folder of a model zoo, for NAME, NAME_vVERSION.zip and their line in model_info.json.
        public: a repository that is made anew on the hub can be seen by everybody.
        source: of a model zoo, the address from which others see the folder; its own by default.
        dry_run: say what would be published, and publish nothing.
        models: where promoted versions are kept; what BREASTKIT_MODELS names, else work/models, by default.

    Raises:
        BreastkitError: if the zip is no packed bundle or is damaged, or the place cannot be written to or reached.
    """
    repository = to.removeprefix(HUB) if to.startswith(HUB) else None
    if repository is not None:
        _check_hub(repository, token_needed=not dry_run)
    elif not dry_run:
        refuse_unwritable(to)
    with temporary_folder("publish") as folder:
        packed = Path(bundle) if bundle.endswith(".zip") else pack_bundle(bundle, str(folder / "zip"), models=models)
        unpacked = _unpacked(packed, folder / "bundle")
        if dry_run:
            return _announced(unpacked, to)
        if repository is None:
            return _add_to_zoo(Path(to), packed, unpacked, source)
        return _push(repository, unpacked, public=public)


def _unpacked(packed: Path, folder: Path) -> Bundle:
    try:
        with zipfile.ZipFile(packed) as archive:
            archive.extractall(folder)
        (inside,) = folder.iterdir()
    except (OSError, zipfile.BadZipFile, ValueError) as error:
        raise BreastkitError(f"{packed} is no packed bundle ({error}); 'breastkit models pack' makes one.") from error
    bundle = Bundle(inside, models=folder / "none")
    check_hash(bundle.shipped_weights)
    return bundle


def _file_name(bundle: Bundle) -> str:
    return f"{bundle.name}_v{bundle.metadata['version']}"


def _announced(bundle: Bundle, to: str) -> str:
    files = sorted(path for path in bundle.folder.rglob("*") if path.is_file())
    sizes = [path.stat().st_size for path in files]
    lines = [f"{size:>12,}  {path.relative_to(bundle.folder)}" for path, size in zip(files, sizes, strict=True)]
    total = f"{_file_name(bundle)} to {to}: {len(files)} files, {sum(sizes):,} bytes; nothing was published (dry run)."
    return "\n".join([*lines, total])


def _add_to_zoo(zoo: Path, packed: Path, bundle: Bundle, source: str | None) -> str:
    """Adds a bundle as the model zoo's repository has it: unpacked, and its zip's checksum (SHA-1) and address."""
    name, info = _file_name(bundle), make_folder(zoo) / MODEL_INFO
    try:
        known = json.loads(info.read_text(encoding="utf-8")) if info.is_file() else {}
    except json.JSONDecodeError as error:
        raise BreastkitError(f"{info} is no JSON ({error}); put it right or restore it.") from error
    path = zoo / f"{name}.zip"
    with replaced_folder(zoo / bundle.name) as folder:
        shutil.copytree(bundle.folder, folder, dirs_exist_ok=True)
    with atomic_path(path) as temporary:
        shutil.copyfile(packed, temporary)
    with path.open("rb") as file:
        checksum = hashlib.file_digest(file, "sha1").hexdigest()
    address = f"{(source or zoo.resolve().as_uri()).rstrip('/')}/{path.name}"
    write_json(info, {**known, name: {"checksum": checksum, "source": address}})
    return f"Published: {address}"


def _check_hub(repository: str, *, token_needed: bool) -> None:
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise BreastkitError(f"'{repository}' names no repository of a hub; write {HUB}OWNER/REPOSITORY.") from error
    if "/" not in repository:
        raise BreastkitError(f"'{repository}' has no owner; write {HUB}OWNER/REPOSITORY.")
    if token_needed and get_token() is None:
        raise BreastkitError("There is no token for the hub; 'hf auth login' keeps one, or set HF_TOKEN.")


def _push(repository: str, bundle: Bundle, *, public: bool) -> str:
    from monai.bundle import push_to_hf_hub

    with _hub_errors_named(repository):
        push_to_hf_hub(
            repo=repository,
            name=bundle.name,
            bundle_dir=str(bundle.folder.parent),
            private=not public,
            version=str(bundle.metadata["version"]),
            tag_as_latest_version=True,
        )
    return f"Published: {HUB}{repository}, version {bundle.metadata['version']}"


@contextmanager
def _hub_errors_named(repository: str) -> Iterator[None]:
    from huggingface_hub.errors import HTTPError

    try:
        yield
    except (HTTPError, OSError) as error:
        why = str(error).strip().partition("\n")[0] or type(error).__name__
        raise BreastkitError(
            f"{HUB}{repository} could not be written ({why}); check the network, the token and the owner's name."
        ) from error
