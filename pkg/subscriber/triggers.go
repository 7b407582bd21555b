package subscriber

import _ "embed"

//go:embed triggers.yaml
var triggers string

// Triggers is the manifest that says who gets which events: Knative Triggers in YAML (broker.ParseTriggers reads it).
func Triggers() string { return triggers }
