package e2e

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cloud.google.com/go/pubsub/v2"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/bucketmesh/bucketmesh/pkg/demo/gcsserver"
)

// push has what comes to a subscription of the emulator posted to a webhook, until the stage is closed.
func (s *Stage) push(ctx context.Context, server, subscription, webhook string) error {
	project, _, _ := strings.Cut(strings.TrimPrefix(subscription, "projects/"), "/")
	client, err := pubsub.NewClient(ctx, project, option.WithEndpoint(server), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return fmt.Errorf("open pub/sub: %w", err)
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- gcsserver.Push(ctx, client.Subscriber(subscription), webhook) }()
	s.stops = append(s.stops, func() error {
		stop()
		return errors.Join(<-ended, client.Close())
	})
	return nil
}
