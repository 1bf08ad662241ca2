# Builds $1/context/Dockerfile on the image $2 of the archive $1/base.tar, and
# writes $1/image.tar with the tag $3. All that buildah keeps is in $1.
set -euo pipefail
work=$1 base=$2 tag=$3
export HOME=$work TMPDIR=$work
echo '{"default":[{"type":"insecureAcceptAnything"}]}' >"$work/policy.json"
b() { local verb=$1; shift; buildah --root "$work/store" --runroot "$work/run" --storage-driver vfs "$verb" "$@"; }
b pull -q --signature-policy "$work/policy.json" "docker-archive:$work/base.tar"
b bud --signature-policy "$work/policy.json" --isolation chroot --pull-never --identity-label=false --build-arg "BASE=$base" -t "$tag" "$work/context"
b push -q --signature-policy "$work/policy.json" "$tag" "docker-archive:$work/image.tar:$tag"
