# Makes a Debian root: DIRECTORY SUITE COMPONENTS [PACKAGES], both lists
# comma-separated. DIRECTORY/layer.tar is the result.
set -euo pipefail
root=$1/root suite=$2 components=$3 packages=${4:-}
mirror=$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)
debootstrap --variant=minbase --components="$components" ${packages:+--include="$packages"} \
  "$suite" "$root" "${mirror:-http://deb.debian.org/debian}"
# As in the official images: no flush after each file, no packages kept.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/docker-apt-speedup"
echo 'DPkg::Post-Invoke { "rm -f /var/cache/apt/archives/*.deb /var/cache/apt/*.bin || true"; };' >"$root/etc/apt/apt.conf.d/docker-clean"
rm -rf "$root"/etc/hostid "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/var/log/* "$root"/usr/share/{doc,man,locale}/*
tar --sort=name --mtime=@0 --numeric-owner --exclude='./proc/*' --exclude='./sys/*' --exclude='./dev/*' -C "$root" -cf "$1/layer.tar" .
