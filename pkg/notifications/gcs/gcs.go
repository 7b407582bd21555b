// Package gcs sets up the notifications of buckets in Google Cloud Storage: a notification configuration that tells a Pub/Sub
// topic of every change, recognised by a custom attribute (Attribute). It also looks at the subscriptions that the document
// names, and refuses those that would lose events; it changes none.
//
// A notification configuration can't be changed, so one that is different is added anew before the old one goes: for a moment
// each change is told twice, which is harmless, and none is missed. Topics, their policy and subscriptions are not made
// here: docs/notifications.md says how.
//
// Errors: Invalid for a document that can't work, NotFound for a bucket or a topic that is not there, PermissionDenied,
// Unauthenticated, Throttled, and Unavailable if Google did not answer.
//
// Concurrency: a Bucket is for one goroutine at a time.
package gcs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/httptransport"
	pubsub "cloud.google.com/go/pubsub/v2/apiv1"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
)

// Attribute carries our id. Pub/Sub adds it to every message; nobody reads it there.
const Attribute = "bucketmesh"

// Config of a Bucket. Replica and ID are required; zero values have the defaults that are named.
type Config struct {
	Replica config.Replica
	ID      string // of our configuration

	CredentialsFile string        // a service account's or an external account's; "": Google's own chain, none with an Endpoint
	PubSub          string        // host:port of an emulator of Pub/Sub; "": Pub/Sub itself
	RequestTimeout  time.Duration // of one request: 30 s
}

// Bucket is the notification configurations of one bucket.
type Bucket struct {
	cfg       Config
	topic     string // as Storage names it
	transport *http.Transport
	store     *storage.Service
	subs      *pubsub.SubscriptionAdminClient // nil: the document names no subscription
}

var _ notifications.Provider = (*Bucket)(nil)

// Open makes a Bucket. It sends no request but for credentials. Package config has judged the names.
func Open(ctx context.Context, cfg Config) (*Bucket, error) {
	if cfg.RequestTimeout <= 0 {
		cfg.RequestTimeout = 30 * time.Second
	}
	b := &Bucket{cfg: cfg, topic: "//pubsub.googleapis.com/" + cfg.Replica.Notifications.Target, transport: &http.Transport{
		Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		DialContext:         (&net.Dialer{Timeout: min(cfg.RequestTimeout, 10*time.Second)}).DialContext,
		TLSHandshakeTimeout: min(cfg.RequestTimeout, 10*time.Second),
	}}
	var creds *auth.Credentials
	if cfg.Replica.Endpoint == "" || cfg.CredentialsFile != "" {
		var err error
		if creds, err = findCredentials(cfg.CredentialsFile, &http.Client{Transport: b.transport, Timeout: cfg.RequestTimeout}); err != nil {
			return nil, err
		}
	}
	if err := b.connect(ctx, creds); err != nil {
		return nil, errors.Join(err, b.Close())
	}
	return b, nil
}

func (b *Bucket) connect(ctx context.Context, creds *auth.Credentials) error {
	client := &http.Client{Transport: b.transport}
	if creds != nil {
		var err error
		client, err = httptransport.NewClient(&httptransport.Options{Credentials: creds, BaseRoundTripper: b.transport, DisableTelemetry: true})
		if err != nil {
			return errkind.New(errkind.Invalid, "use credentials: %w", err)
		}
	}
	opts := []option.ClientOption{option.WithHTTPClient(client)}
	if e := b.cfg.Replica.Endpoint; e != "" {
		opts = append(opts, option.WithEndpoint(e+"/storage/v1/"))
	}
	var err error
	if b.store, err = storage.NewService(ctx, opts...); err != nil {
		return errkind.New(errkind.Invalid, "make a client of Cloud Storage: %w", err)
	}
	n := b.cfg.Replica.Notifications
	if n.Subscription == "" && n.Pull == "" {
		return nil
	}
	opts = nil
	switch {
	case b.cfg.PubSub != "":
		opts = append(opts, option.WithEndpoint(b.cfg.PubSub), option.WithoutAuthentication(),
			option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	case creds != nil:
		opts = append(opts, option.WithAuthCredentials(creds))
	}
	if b.subs, err = pubsub.NewSubscriptionAdminClient(ctx, opts...); err != nil {
		return errkind.New(errkind.PermissionDenied, "make a client of Pub/Sub: %w", err)
	}
	return nil
}

// Close implements notifications.Provider.
func (b *Bucket) Close() error {
	b.transport.CloseIdleConnections()
	if b.subs == nil {
		return nil
	}
	if err := b.subs.Close(); err != nil {
		return fmt.Errorf("close client of Pub/Sub: %w", err)
	}
	return nil
}
