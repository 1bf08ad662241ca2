# Debian packages for the lab: `missing` prints those that are not installed, and
# `install` installs them. zfs-dkms is in contrib.
set -euo pipefail
packages=(
  qemu-system-x86 linux-image-cloud-amd64 linux-headers-cloud-amd64 zfs-dkms zfsutils-linux
  busybox-static e2fsprogs kmod runc containernetworking-plugins nftables conntrack iproute2
  openssh-server openssh-client nbdkit debootstrap buildah
)
missing() {
  local p
  for p in "${packages[@]}"; do
    dpkg-query -W -f '${Status}' "$p" 2>/dev/null | grep -q 'ok installed' || echo "$p"
  done
}
install() {
  if ! apt-cache policy zfs-dkms 2>/dev/null | grep -q 'Candidate: [0-9]'; then
    if [ -f /etc/apt/sources.list.d/debian.sources ]; then
      sed 's/^Components:.*/Components: contrib/' /etc/apt/sources.list.d/debian.sources >/etc/apt/sources.list.d/debian-contrib.sources
    else # as the installer writes it
      sed -n 's/^\(deb [^#]*\) main.*/\1 contrib/p' /etc/apt/sources.list >/etc/apt/sources.list.d/debian-contrib.list
    fi
  fi
  apt-get update -q
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${packages[@]}"
}
"$1"
