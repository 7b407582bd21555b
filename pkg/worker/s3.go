package worker

import (
	"context"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/object/s3"
)

// S3 opens replicas at Amazon S3 and at servers that speak its protocol.
func S3(ctx context.Context, r config.Replica, a Access) (driver.Bucket, error) {
	b, err := s3.Open(ctx, s3.Config{
		Bucket: r.Bucket, Region: r.Region, Endpoint: r.Endpoint, PathStyle: r.PathStyle,
		AccessKeyID: a.AccessKeyID, SecretAccessKey: a.SecretAccessKey, OnRequest: a.OnRequest,
	})
	if err != nil {
		return nil, err //nolint:wrapcheck // says "open s3 bucket"
	}
	return b, nil
}
