package worker

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// S3 opens replicas at Amazon S3 and at servers that speak its protocol.
func S3(ctx context.Context, r config.Replica, a Access) (driver.Bucket, error) {
	c := s3.Config{Bucket: r.Bucket, Region: r.Region, Endpoint: r.Endpoint, PathStyle: r.PathStyle, OnRequest: a.OnRequest}
	if len(a.Credentials) == 2 {
		c.AccessKeyID, c.SecretAccessKey = a.Credentials[0], a.Credentials[1]
	}
	b, err := s3.Open(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says "open s3 bucket"
	}
	return b, nil
}
