package gcsserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/fsouza/fake-gcs-server/fakestorage"

	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// The way of notifications. Projects are of one process, so that all can have the same names.
const (
	project      = "bucketmesh-demo"
	topic        = "changes"
	subscription = "bucketmesh"
)

const (
	heap  = 256 << 20 // bytes after which the collector works harder: objects are in memory, and large ones for a moment twice
	grace = time.Second
)

// Run is the child's side. It sets the process's PUBSUB_EMULATOR_HOST: the library takes the address from nowhere else.
func Run(ctx context.Context, spec child.Spec, ready func(endpoint string)) (err error) {
	opts, err := child.Options[Options](spec)
	if err != nil {
		return err //nolint:wrapcheck // says "serve"
	}
	if err := opts.validate(); err != nil {
		return err
	}
	debug.SetMemoryLimit(heap)
	queue, err := startQueue(ctx)
	if err != nil {
		return fmt.Errorf("serve gcs: %w", err)
	}
	defer func() { err = errors.Join(err, queue.Close()) }()

	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return errkind.New(errkind.Unavailable, "serve gcs: listen: %w", err)
	}
	address := l.Addr().String()
	storage, err := fakestorage.NewServerWithOptions(fakestorage.Options{
		NoListener: true, Scheme: "http", PublicHost: address, ExternalURL: "http://" + address,
		EventOptions: fakestorage.EventManagerOptions{
			ProjectID: project, TopicName: topic, Bucket: opts.Bucket,
			NotifyOn: fakestorage.EventNotificationOptions{Finalize: true, Delete: true, MetadataUpdate: true, Archive: true},
		},
	})
	if err != nil {
		return errors.Join(fmt.Errorf("serve gcs: %w", err), l.Close())
	}
	storage.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: opts.Bucket})
	gate, err := emulator.NewGCS("http://" + address)
	if err != nil {
		return errors.Join(fmt.Errorf("serve gcs: %w", err), l.Close())
	}
	endpoint, closeGate, err := emulator.Serve(ctx, "127.0.0.1:0", gate)
	if err != nil {
		return errors.Join(fmt.Errorf("serve gcs: %w", err), l.Close())
	}
	defer func() { err = errors.Join(err, closeGate()) }()

	server := &http.Server{Handler: storage.HTTPHandler(), ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 2)
	go func() { failed <- server.Serve(l) }()
	if opts.Webhook != "" {
		go func() { failed <- push(ctx, opts.Webhook) }()
	}
	ready(endpoint)
	select {
	case err = <-failed:
		err = fmt.Errorf("serve gcs: %w", err)
	case <-ctx.Done():
	}
	end, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
	defer cancel()
	if server.Shutdown(end) != nil {
		err = errors.Join(err, server.Close()) // somebody still reads, and nobody is left who needs it
	}
	return err
}

// startQueue starts Pub/Sub with the topic and its one subscription.
func startQueue(ctx context.Context) (*pstest.Server, error) {
	queue := pstest.NewServer()
	const path = "projects/" + project
	_, err := queue.GServer.CreateTopic(ctx, &pubsubpb.Topic{Name: path + "/topics/" + topic})
	if err == nil {
		_, err = queue.GServer.CreateSubscription(ctx, &pubsubpb.Subscription{
			Name: path + "/subscriptions/" + subscription, Topic: path + "/topics/" + topic, AckDeadlineSeconds: 60,
		})
	}
	if err == nil {
		err = os.Setenv("PUBSUB_EMULATOR_HOST", queue.Addr)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("start pub/sub: %w", err), queue.Close())
	}
	return queue, nil
}
