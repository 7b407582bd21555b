// Package manifests has no code but tests, of all manifests: config/, and what the overlays of deploy/ become. They are decoded
// strictly, held against the schemas of Knative's own resource definitions, given to Knative's own validation, and to the
// rules of this project (probes, security, delivery, no secrets). Each check is tried with a fault that it has to find.
//
// It is a module of its own, so that what is only needed to judge manifests (Kubernetes, Knative Serving, kustomize) stays out of
// the programs' module: hack/test.sh runs it, or go test -count=1 in this folder (go's cache does not see that a file outside of
// the module has changed).
package manifests
