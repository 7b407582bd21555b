package azure

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/normalize"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/httpin"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/internal/refuse"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/oidc"
)

// PathPrefix is where stores post to: PathPrefix + Store.Name.
const PathPrefix = "/azure/"

// Defaults of a HandlerConfig.
const (
	// DefaultMaxBody is a batch of 1 MiB, the most that Event Grid is to be asked for, with room for what is around it: what
	// is larger is lost, because a 413 is not sent again.
	DefaultMaxBody = 1<<20 + 64<<10
	DefaultTimeout = 25 * time.Second // Event Grid waits 30 s, and then sends again
	DefaultOrigin  = "eventgrid.azure.net"
)

// HandlerConfig is what a Handler works with.
type HandlerConfig struct {
	Stores      []Store
	Sink        normalize.Sink
	DeadLetters normalize.DeadLetters
	Verifier    *oidc.Verifier // required if a store has apps
	// Origins may subscribe to CloudEvents, compared byte by byte; none is DefaultOrigin.
	Origins []string
	Now     func() time.Time // our clock, for recordedtime
	MaxBody int64            // bytes of one message; 0 is DefaultMaxBody
	Timeout time.Duration    // of the work on one message; 0 is DefaultTimeout
	Meter   metric.Meter     // nil: nothing is counted
	Logger  *slog.Logger     // nil: slog.Default
}

// Handler takes notifications over HTTP. Its answers are those of package httpin; of these Event Grid repeats all but
// 401, 403 and 413.
type Handler struct {
	http.Handler
}

// NewHandler checks the configuration and makes the handler. Errors: Invalid.
func NewHandler(c HandlerConfig) (*Handler, error) {
	if c.MaxBody <= 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.Timeout <= 0 {
		c.Timeout = DefaultTimeout
	}
	if len(c.Origins) == 0 {
		c.Origins = []string{DefaultOrigin}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if slices.Contains(c.Origins, "") || slices.Contains(c.Origins, "*") {
		return nil, errkind.New(errkind.Invalid, `make azure handler: origins are names such as %s, never "" or "*"`, DefaultOrigin)
	}
	routes := make([]httpin.Route, 0, len(c.Stores))
	for _, s := range c.Stores {
		if err := s.validate(); err != nil {
			return nil, err
		}
		if len(s.Auth.Apps) > 0 && c.Verifier == nil {
			return nil, errkind.New(errkind.Invalid, "store %s: apps need a verifier", s.Name)
		}
		r := route{
			store: s, account: AccountOf(s, c.Stores), tokens: httpin.NewTokens(s.Auth.Tokens), verifier: c.Verifier,
			origins: c.Origins, logger: c.Logger,
		}
		routes = append(routes, httpin.Route{Name: s.Name, Admit: r.admit, Read: r.read, Options: r.options})
	}
	h, err := httpin.New(httpin.Config{
		Prefix: PathPrefix, Routes: routes, Sink: c.Sink, DeadLetters: c.DeadLetters, Now: c.Now, MaxBody: c.MaxBody,
		Timeout: c.Timeout, Meter: c.Meter, Logger: c.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("make azure handler: %w", err)
	}
	return &Handler{h}, nil
}

// route is a store with what is prepared for it.
type route struct {
	store    Store
	account  Account
	tokens   httpin.Tokens
	verifier *oidc.Verifier
	origins  []string
	logger   *slog.Logger
}

// admit lets a request in by its head alone: Event Grid signs no messages.
func (r *route) admit(ctx context.Context, req *http.Request) (known bool, err error) {
	switch {
	case r.store.Auth.Open || r.tokens.Allow(req):
		return true, nil
	case len(r.store.Auth.Apps) == 0:
		return false, refuse.New(errkind.Unauthenticated, refuse.NoToken, "the sender shows no valid token")
	}
	claims, err := r.verifier.Verify(ctx, req.Header.Get("Authorization"))
	if err != nil {
		return false, err //nolint:wrapcheck // says what is wrong, with its kind
	}
	if err := claims.RequireApplication(r.store.Auth.Apps); err != nil {
		return false, err //nolint:wrapcheck // says what is wrong, with its kind
	}
	return true, nil
}
