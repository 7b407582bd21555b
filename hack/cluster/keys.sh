# shellcheck shell=bash
# Part of hack/cluster.sh: keys and the kubeconfig. One administrator is used by every part: this is for tests, not for
# production. Sourced, not run.

make_keys() {
  [[ ! -f $KEYS/kubeconfig ]] || return 0
  rm -rf "$KEYS"
  mkdir -p "$KEYS"
  logged keys "making keys" write_keys
}

write_keys() (
  set -e
  umask 077
  cd "$KEYS"
  openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=bucketmesh-cluster -keyout ca.key -out ca.crt
  certificate apiserver /CN=kube-apiserver serverAuth \
    "DNS:localhost,DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local,IP:127.0.0.1,IP:$NODE_IP,IP:$API_IP"
  certificate admin /O=system:masters/CN=admin clientAuth
  certificate kubelet "/CN=$NODE_NAME" serverAuth "DNS:$NODE_NAME,IP:$NODE_IP"
  openssl genrsa -out serviceaccount.key 2048
  openssl rsa -in serviceaccount.key -pubout -out serviceaccount.pub
  cat >kubeconfig.new <<YAML
apiVersion: v1
kind: Config
clusters: [{name: bucketmesh, cluster: {server: "https://$NODE_IP:6443", certificate-authority: $KEYS/ca.crt}}]
users: [{name: admin, user: {client-certificate: $KEYS/admin.crt, client-key: $KEYS/admin.key}}]
contexts: [{name: bucketmesh, context: {cluster: bucketmesh, user: admin}}]
current-context: bucketmesh
YAML
  mv kubeconfig.new kubeconfig # last: it says that all are there
)

# certificate NAME SUBJECT USE [NAMES]
certificate() {
  openssl req -newkey rsa:2048 -nodes -subj "$2" -keyout "$1.key" -out "$1.csr"
  {
    echo "extendedKeyUsage=$3"
    [[ -z ${4:-} ]] || echo "subjectAltName=$4"
  } >"$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt"
}
