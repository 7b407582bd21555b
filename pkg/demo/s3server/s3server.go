// Package s3server runs real S3 servers for the demo and for tests, without anything to install: versitygw as a library,
// on files in a folder, with conditional writes and notifications like the program itself. One process can hold one such
// server, so each is a child (package child).
//
// Errors: Invalid for options that can't work; Unavailable for a server that did not start, with the end of what it
// printed. Concurrency: a Server may be used from many goroutines.
package s3server

import (
	"context"
	"os/exec"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Kind of server, for child.Serve.
const Kind = "s3"

// Options of one server.
type Options struct {
	Name      string `json:"name"`      // for messages
	Dir       string `json:"dir"`       // an empty folder of the server's own; it is removed when the server ends
	AccessKey string `json:"accessKey"` // of the one account
	SecretKey string `json:"secretKey"`
	Bucket    string `json:"bucket"`  // made at the start
	Webhook   string `json:"webhook"` // URL for notifications; somebody must listen there already
	// Sidecar keeps attributes of objects in files of their own. Without it that is done where the file system can't do better.
	Sidecar bool `json:"sidecar"`
	// Cleanup is a folder that is removed with Dir if the parent dies without a farewell; "": none.
	Cleanup string `json:"cleanup"`
}

func (o Options) validate() error {
	switch {
	case o.Name == "" || o.Dir == "" || o.Bucket == "":
		return errkind.New(errkind.Invalid, "start s3 server: name, folder and bucket are required")
	case o.AccessKey == "" || o.SecretKey == "":
		return errkind.New(errkind.Invalid, "start s3 server %s: an access key and its secret are required", o.Name)
	}
	return nil
}

// Server is a running server.
type Server struct {
	*child.Process
	Options
}

// Start runs cmd, whose program has to call child.Serve with Run, and waits until the server serves. ctx bounds the start only.
func Start(ctx context.Context, cmd *exec.Cmd, opts Options) (*Server, error) {
	if err := opts.validate(); err != nil {
		return nil, err
	}
	p, err := child.Start(ctx, cmd, child.Spec{Kind: Kind, Name: opts.Name, Dir: opts.Dir, Cleanup: opts.Cleanup}, opts)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "start s3 server"
	}
	return &Server{Process: p, Options: opts}, nil
}
