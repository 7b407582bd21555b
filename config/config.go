// Package config holds the manifests of a deployment on Knative, numbered in the order in which they are applied:
//
//	ko apply -f config/
//
// The Triggers among them are the one truth about who gets which events: the one-process mode reads them, too. What a group is
// and all secrets are not here; deploy/ has an example of the group's document and overlays for other brokers and for
// production, docs/DEPLOY.md says how to go about it. The SyncGroup document is read by pkg/config, which is another thing.
//
// There are no errors: what is here is built in. Everything may be used from many goroutines.
package config

import _ "embed"

//go:embed 600-triggers.yaml
var triggers string

// Triggers is the manifest that says who gets which events: Knative Triggers in YAML.
func Triggers() string { return triggers }
