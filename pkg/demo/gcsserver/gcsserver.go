// Package gcsserver runs a Google Cloud Storage emulator for the demo and for tests, without anything to install:
// fake-gcs-server as a library, in memory, behind the gate that enforces the conditions which it ignores (package emulator).
// Its notifications take the way that Google's take: to a topic of Pub/Sub (Google's own fake of it), and from a subscription
// to a webhook. The fake stores push configurations and never pushes; pusher stands in for that.
//
// Each server is a child (package child). Nobody has to prove who they are to it: it listens on loopback only.
//
// Errors: Invalid for options that can't work; Unavailable for a server that did not start, with the end of what it printed.
// Concurrency: a Server may be used from many goroutines.
package gcsserver

import (
	"context"
	"os/exec"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Kind of server, for child.Serve.
const Kind = "gcs"

// Options of one server.
type Options struct {
	Bucket  string `json:"bucket"`  // made at the start
	Webhook string `json:"webhook"` // URL for pushes, with the secret in its query; "": nobody is told
}

func (o Options) validate() error {
	if o.Bucket == "" {
		return errkind.New(errkind.Invalid, "start gcs server: a bucket is required")
	}
	return nil
}

// Server is a running server.
type Server struct {
	*child.Process
	Options
}

// Start runs cmd, whose program has to call child.Serve with Run, and waits until the server serves. at is the name and the
// folders. ctx bounds the start only.
func Start(ctx context.Context, cmd *exec.Cmd, at child.Spec, opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	at.Kind = Kind
	p, err := child.Start(ctx, cmd, at, opts)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "start gcs server"
	}
	return &Server{Process: p, Options: opts}, nil
}
