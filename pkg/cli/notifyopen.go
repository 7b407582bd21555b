package cli

import (
	"context"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/notifications"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/azure"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/notifications/s3"
	"github.com/bucketmesh/bucketmesh/pkg/serve/env"
)

// envPubSub is how Google's own tools are told of an emulator.
const envPubSub = "PUBSUB_EMULATOR_HOST"

func (a *App) openS3Notifications(ctx context.Context, r config.Replica, id string) (notifications.Provider, error) {
	c := s3.Config{Replica: r, ID: id}
	if keys := a.credentials(r); len(keys) == 2 {
		c.AccessKeyID, c.SecretAccessKey = keys[0], keys[1]
	}
	return s3.Open(ctx, c) //nolint:wrapcheck // says what is wrong
}

func (a *App) openGCSNotifications(ctx context.Context, r config.Replica, id string) (notifications.Provider, error) {
	c := gcs.Config{Replica: r, ID: id, PubSub: a.env(envPubSub)}
	if files := a.credentials(r); len(files) == 1 {
		c.CredentialsFile = files[0]
	}
	return gcs.Open(ctx, c) //nolint:wrapcheck // says what is wrong
}

func (a *App) openAzureNotifications(ctx context.Context, r config.Replica, id string) (notifications.Provider, error) {
	return azure.Open(ctx, azure.Config{ //nolint:wrapcheck // says what is wrong
		Replica: r, ID: id, Tokens: env.List(a.env(env.Tokens)), EntraTenant: a.env(env.EntraTenant), EntraAudience: a.env(env.EntraAudience),
		OnProgress: func(text string) { fmt.Fprintln(a.Err, text) },
	})
}
