package subscriber

import "github.com/bucketmesh/bucketmesh/config"

// Triggers is the manifest that says who gets which events: the Knative Triggers that a cluster has, in YAML (broker.ParseTriggers
// reads it).
func Triggers() string { return config.Triggers() }
