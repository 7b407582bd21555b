// Package azurite runs Microsoft's emulator of Azure Blob Storage for the demo and for tests, where it is installed: the
// program in $BUCKETMESH_AZURITE, or azurite on the PATH. Package emulator's gate is in front of it and tells of changes as
// Event Grid does, which Azurite does not: of contents and deletes, not of edits of metadata, for which Azure has no events.
//
// Each server is a child (package child), and Azurite is a child of that one, which ends it.
//
// Errors: NotFound if there is no Azurite; Invalid for options that can't work; Unavailable for a server that did not
// start, with the end of what it printed. Concurrency: a Server may be used from many goroutines.
package azurite

import (
	"context"
	"os/exec"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// Kind of server, for child.Serve.
const Kind = "azure"

// Variable is the name of the environment variable with the path of the program.
const Variable = "BUCKETMESH_AZURITE"

// Find finds the program.
func Find(lookupEnv func(string) (string, bool)) (path string, err error) {
	name, _ := lookupEnv(Variable)
	named := name != ""
	if !named {
		name = "azurite"
	}
	path, err = exec.LookPath(name)
	if err != nil && named { // somebody wants this one
		return "", errkind.New(errkind.Invalid, "find Azurite: %s is %q: %w: write the path of its program, or unset it", Variable, name, err)
	}
	if err != nil {
		return "", errkind.New(errkind.NotFound, "find Azurite: %w: install the npm package azurite, or set %s to the path of its program", err, Variable)
	}
	return path, nil
}

// Options of one server.
type Options struct {
	Program   string `json:"program"`   // path of azurite
	Account   string `json:"account"`   // the one account
	Key       string `json:"key"`       // of the account, base64
	Container string `json:"container"` // made at the start
	Webhook   string `json:"webhook"`   // URL for events, with the secret in its query
}

func (o Options) validate() error {
	if o.Program == "" || o.Account == "" || o.Key == "" || o.Container == "" || o.Webhook == "" {
		return errkind.New(errkind.Invalid, "start azure server: program, account, key, container and webhook are required")
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
		return nil, err //nolint:wrapcheck // says "start azure server"
	}
	return &Server{Process: p, Options: opts}, nil
}
