# shellcheck shell=bash
# Part of hack/cluster.sh: the images that others are built upon, made of this machine's own files, because no public registry is
# asked. The registry keeps contents on disk and names in memory: after its start they are told to it again. Sourced, not run.

# publish_pause: what holds the namespaces of a pod.
publish_pause() {
  mkdir -p "$DIR/images/pause"
  cp "$PROGRAMS/pause" "$DIR/images/pause/pause"
  logged pause-image "making the image $PAUSE_IMAGE" publish "$PAUSE_IMAGE" "$DIR/images/pause" --entrypoint /pause
}

# publish_base: like distroless static: certificates, a user that is not root, a place for temporary files.
publish_base() {
  local folder=$DIR/images/base
  mkdir -p "$folder"/{etc/ssl/certs,home/nonroot,tmp}
  chmod 1777 "$folder/tmp"
  cp /etc/ssl/certs/ca-certificates.crt "$folder/etc/ssl/certs/"
  printf 'root:x:0:0:root:/:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n' >"$folder/etc/passwd"
  printf 'root:x:0:\nnonroot:x:65532:\n' >"$folder/etc/group"
  logged base-image "making the image $BASE_IMAGE" publish "$BASE_IMAGE" "$folder" --user 65532:65532 \
    --env PATH=/usr/bin:/bin --env SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
}

# publish IMAGE FOLDER [FLAGS OF crane mutate]
publish() {
  local image=$1 folder=$2 layer=$2.tar
  shift 2
  # The same files make the same image, whenever it is made.
  tar --owner=0 --group=0 --mtime=@0 --sort=name -C "$folder" -cf "$layer" . &&
    crane append --oci-empty-base -f "$layer" -t "$image" &&
    crane mutate --set-platform "linux/$(go env GOARCH)" "$@" -t "$image" "$image"
}

# resolve FOLDER YAML: builds the images that a manifest names by ko://, and prints the manifest with their digests.
resolve() {
  (cd "$TOOLS/$1" && KO_CONFIG_PATH=$TOOLS/ko.yaml GOFLAGS=-buildvcs=false nice -n 10 ko resolve --platform="linux/$(go env GOARCH)" \
    --sbom=none --base-import-paths=false -f "$2")
}
