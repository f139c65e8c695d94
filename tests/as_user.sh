#!/usr/bin/env bash
# The tests marked `permissions`, which root would pass without looking:  as_user.sh PYTHON [pytest arguments]
# As the user 65534 where that user can run PYTHON and read the checkout, else as root without the right to ignore
# permissions. An ordinary user runs them as they are.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1
shift
as=()
if ((EUID == 0)); then
  as=(setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=-all env "HOME=$(mktemp -d)" --)
  chmod 777 "${as[-2]#HOME=}"
  if ! "${as[@]}" "$python" -c "import dfdc_kit, pytest, pathlib; list(pathlib.Path('tests').iterdir())" 2>/dev/null; then
    drop=-dac_override,-dac_read_search
    as=(setpriv "--inh-caps=$drop" "--bounding-set=$drop" --)
  fi
fi
temp=$(mktemp -d)
chmod 777 "$temp"
trap 'rm -rf "$temp"' EXIT
mapfile -t files < <(grep -rl --include='test_*.py' 'mark\.permissions' tests)
"${as[@]}" "$python" -m pytest "${files[@]}" -m permissions -p no:cacheprovider --basetemp "$temp/pytest" -q "$@"
