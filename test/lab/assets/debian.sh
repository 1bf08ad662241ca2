# Makes the Debian root of the dotmesh image as a tar file, $1, with the packages
# that follow, comma-separated.
set -euo pipefail
out=$1 packages=$2
root=$(mktemp -d "$(dirname "$out")/.debian-XXXXXX")
trap 'rm -rf "$root"' EXIT
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
suite=$(. /etc/os-release; echo "$VERSION_CODENAME")
debootstrap --variant=minbase --components=main,contrib \
  --include="$packages" \
  "$suite" "$root" "${mirror:-http://deb.debian.org/debian}"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale}/*
tar --sort=name --mtime=@0 --numeric-owner --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -C "$root" -cf "$out" .
