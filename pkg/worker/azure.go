package worker

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/object/azblob"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Azure opens replicas at Azure Blob Storage and at servers that speak its protocol.
func Azure(ctx context.Context, r config.Replica, a Access) (driver.Bucket, error) {
	c := azblob.Config{Account: r.Account, Container: r.Bucket, Endpoint: r.Endpoint, OnRequest: a.OnRequest}
	if len(a.Credentials) == 1 {
		c.AccountKey = a.Credentials[0]
	}
	b, err := azblob.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "open azure container"
	}
	return b, nil
}
