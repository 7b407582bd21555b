package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/audit"
	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
	"github.com/bucketmesh/bucketmesh/pkg/state"
)

// connect asks the process that works on the data directory; if there is none, open does it here, and done ends that.
func (p *place) connect(ctx context.Context, a *App, open func(context.Context, pipeline.Options) (*pipeline.Pipeline, error)) (api control.API, done func() error, err error) {
	if p.data != "" {
		path, err := pipeline.SocketPath(p.data)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // says what is wrong
		}
		client, err := control.Dial(ctx, path)
		if err == nil {
			return client, func() error { return nil }, p.sameDocument(ctx, client)
		}
		if !errors.Is(err, control.ErrNobody) {
			return nil, nil, err //nolint:wrapcheck // says what is wrong
		}
	}
	o, err := p.options(a)
	if err != nil {
		return nil, nil, err
	}
	pipe, err := open(ctx, o)
	if used, ok := errors.AsType[*pipeline.InUse](err); ok {
		return nil, nil, withCode(Busy, fmt.Errorf("process %s is starting or stopping, or a `bucketmesh sync` of its own; try again in a moment", used.PID))
	}
	if err != nil {
		return nil, nil, err
	}
	return pipe, pipe.Close, nil
}

// sameDocument refuses a document that is not the one of the process that works on the data directory: it would be
// ignored.
func (p *place) sameDocument(ctx context.Context, running control.API) error {
	if p.file == "" {
		return nil
	}
	g, err := p.group()
	if err != nil {
		return err
	}
	want, err := pipeline.Digest(g)
	if err != nil {
		return err //nolint:wrapcheck // says "digest document"
	}
	s, err := running.Status(ctx)
	if err != nil {
		return err //nolint:wrapcheck // says what could not be read
	}
	if s.Document != want {
		return withCode(Misconfigured, &otherDocument{fmt.Errorf("process %d runs another document than %s; restart `bucketmesh up` with it, or leave -f out", s.PID, p.file)})
	}
	return nil
}

// otherDocument is the error of sameDocument.
type otherDocument struct{ error }

// withAPI runs f with what connect found.
func (p *place) withAPI(ctx context.Context, a *App, open func(context.Context, pipeline.Options) (*pipeline.Pipeline, error), f func(control.API) error) (err error) {
	api, closeAPI, err := p.connect(ctx, a, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeAPI()) }()
	return f(api)
}

// stateUsage is where a command that reads state and events finds them: in a data directory, or in the database of services.
const stateUsage = "(--data DIR | -f group.yaml --state DSN)"

// withState runs f with the state and the audit log, which another process may have open too. That of services has no data directory: the document
// and the database name it.
func (p *place) withState(ctx context.Context, a *App, f func(group string, s state.Store, log audit.Log) error) error {
	return p.withBooks(ctx, a, func(group string, s *pipeline.State) error { return f(group, s, s.Log) })
}

// withBooks is withState for what looks at the ledger as well.
func (p *place) withBooks(ctx context.Context, a *App, f func(group string, s *pipeline.State) error) (err error) {
	if p.data == "" && (p.file == "" || p.state == "" && a.env(env.State) == "") {
		return usageError{errors.New("the flag --data is missing: where are state and events kept? Those of services are found with -f group.yaml and --state DSN")}
	}
	o, err := p.optionsAnywhere(a)
	if err != nil {
		return err
	}
	s, err := pipeline.OpenState(ctx, o.DataDir, o.State)
	if err != nil {
		return err //nolint:wrapcheck // says "open state"
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return f(o.Group.Name, s)
}
