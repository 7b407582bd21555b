package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/bucketmesh/bucketmesh/pkg/control"
	"github.com/bucketmesh/bucketmesh/pkg/deadletter"
	"github.com/bucketmesh/bucketmesh/pkg/pipeline"
	"github.com/bucketmesh/bucketmesh/pkg/serve"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// letters are dead letters, wherever they are.
type letters interface {
	list(ctx context.Context, q deadletter.Query) ([]deadletter.Letter, error)
	get(ctx context.Context, id string) (deadletter.Letter, error)
	replay(ctx context.Context, ids ...string) (int, error) // none: all that can be
	drop(ctx context.Context, ids ...string) (int, error)
}

// office is where a command looks for letters: at the process of a data directory, or in the database of services.
type office struct {
	place

	broker string // of services
}

// replays adds what a replay needs.
func (o *office) replays(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.broker, "broker", "", "of services: URL of the broker, http://... (default $"+env.Broker+")")
}

// with runs f with the letters of the place.
func (o *office) with(ctx context.Context, a *App, f func(letters) error) error {
	if o.data != "" {
		if o.broker != "" {
			return usageError{errors.New("the flag --broker is for services; with --data the broker is in the data directory")}
		}
		return o.withAPI(ctx, a, pipeline.Inspect, func(api control.API) error { return f(process{api}) })
	}
	return o.withBooks(ctx, a, func(group string, s *pipeline.State) error {
		return f(services{a, deadletter.Replayer{Store: s.Letters, Group: group, Refused: serve.Refused}, o.broker})
	})
}

// process are the letters that a process on a data directory has.
type process struct{ api control.API }

func (p process) list(ctx context.Context, q deadletter.Query) ([]deadletter.Letter, error) {
	if q.Replayed {
		return nil, usageError{errors.New("the flag --replayed is for services: with --data a letter that was replayed is gone")}
	}
	return p.api.DeadLetters(ctx, q.Limit) //nolint:wrapcheck // says what could not be read
}

func (p process) get(ctx context.Context, id string) (deadletter.Letter, error) {
	return p.api.DeadLetter(ctx, id) //nolint:wrapcheck // says which
}

func (p process) replay(ctx context.Context, ids ...string) (int, error) {
	return p.api.Replay(ctx, ids...) //nolint:wrapcheck // says which
}

func (p process) drop(ctx context.Context, ids ...string) (int, error) {
	return p.api.Drop(ctx, ids...) //nolint:wrapcheck // says which
}

// services are the letters that the service dead-letters kept.
type services struct {
	a        *App
	replayer deadletter.Replayer
	broker   string
}

func (s services) list(ctx context.Context, q deadletter.Query) ([]deadletter.Letter, error) {
	var all []deadletter.Letter
	for {
		page := q
		if q.Limit > 0 {
			page.Limit = q.Limit - len(all)
		}
		ls, err := s.replayer.Store.List(ctx, s.replayer.Group, page)
		all = append(all, ls...)
		if err != nil || len(ls) == 0 || q.Limit > 0 && len(all) >= q.Limit {
			return all, err //nolint:wrapcheck // says what could not be read
		}
		q.After = ls[len(ls)-1].ID
	}
}

func (s services) get(ctx context.Context, id string) (deadletter.Letter, error) {
	return s.replayer.Store.Get(ctx, s.replayer.Group, id) //nolint:wrapcheck // says which
}

func (s services) replay(ctx context.Context, ids ...string) (int, error) {
	url := s.broker
	if url == "" {
		url = s.a.env(env.Broker)
	}
	if url == "" {
		return 0, usageError{fmt.Errorf("the flag --broker is missing: where are the events to be sent? In a pod with a SinkBinding it is $%s; from outside, "+
			"kubectl -n knative-eventing port-forward svc/broker-ingress 8080:80 makes it http://127.0.0.1:8080/NAMESPACE/BROKER", env.Broker)}
	}
	sink, err := serve.NewHTTPSink(serve.SinkConfig{URL: url, Overrides: s.a.env(env.Overrides), Authority: s.a.env(env.Authority)})
	if err != nil {
		return 0, usageError{fmt.Errorf("the flag --broker, or what Knative set in its place: %w", err)} // which does not hold the value
	}
	s.replayer.Sink = sink
	if len(ids) == 0 {
		return s.replayer.All(ctx) //nolint:wrapcheck // says which
	}
	return s.replayer.Replay(ctx, ids...) //nolint:wrapcheck // says which
}

func (s services) drop(ctx context.Context, ids ...string) (n int, err error) {
	for _, id := range ids {
		if _, err := s.get(ctx, id); err != nil {
			return n, fmt.Errorf("drop: %w", err)
		}
		if err := s.replayer.Store.Drop(ctx, s.replayer.Group, id); err != nil {
			return n, err //nolint:wrapcheck // says "drop dead letter"
		}
		n++
	}
	return n, nil
}
