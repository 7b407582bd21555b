package worker

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/gcs"
)

// GCS opens replicas at Google Cloud Storage, and at emulators of it.
func GCS(ctx context.Context, r config.Replica, a Access) (driver.Bucket, error) {
	c := gcs.Config{Bucket: r.Bucket, Endpoint: r.Endpoint, OnRequest: a.OnRequest}
	if len(a.Credentials) == 1 {
		c.CredentialsFile = a.Credentials[0]
	}
	b, err := gcs.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "open gcs bucket"
	}
	return b, nil
}
