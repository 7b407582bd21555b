package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/bucketmesh/bucketmesh/pkg/config"
	"github.com/bucketmesh/bucketmesh/pkg/errkind"
	"github.com/bucketmesh/bucketmesh/pkg/object"
	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
	"github.com/bucketmesh/bucketmesh/pkg/worker"
	"github.com/bucketmesh/bucketmesh/test/e2e"
)

// opened is a bucket as bucketmesh's driver has it, with what a probe found out. Nothing tries a request again.
type opened struct {
	name   string
	bucket driver.Bucket
}

// buckets opens a new bucket at each provider.
func buckets(ctx context.Context, name, dir string, getenv func(string) string) (all []opened, stop func() error, err error) {
	stage, err := e2e.Open(ctx, e2e.Options{Name: name, Seed: 1, Dir: dir, Program: "none"}, e2e.Clouds, getenv)
	if err != nil {
		return nil, nil, err
	}
	stop = func() error {
		errs := []error{stage.Close()}
		for _, b := range all {
			errs = append(errs, b.bucket.Close())
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	openers := worker.AllOpeners()
	group, err := config.LoadFile(stage.Document(), config.Options{Providers: openers.Providers()})
	if err != nil {
		return nil, stop, err
	}
	for _, r := range group.Replicas {
		b, err := open(ctx, openers, r, stage.LookupEnv)
		if err != nil {
			return nil, stop, fmt.Errorf("open %s: %w", r.Name, err)
		}
		all = append(all, opened{r.Name, b})
	}
	return all, stop, nil
}

func open(ctx context.Context, openers worker.Openers, r config.Replica, lookup func(string) (string, bool)) (driver.Bucket, error) {
	a := worker.Access{OnRequest: func(string) {}}
	for _, name := range r.CredentialVariables() {
		value, _ := lookup(name)
		a.Credentials = append(a.Credentials, value)
	}
	d, err := openers[r.Provider](ctx, r, a)
	if err != nil {
		return nil, err
	}
	report, err := object.Probe(ctx, d, object.ProbeOptions{Writers: 2, Rounds: 1})
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	capable, ok := d.(object.Capable)
	if !ok {
		return nil, errors.Join(errkind.New(errkind.Unsupported, "the driver does not follow what a probe finds"), d.Close())
	}
	return capable.WithCapabilities(report.Capabilities), nil
}

// plainPuts reports whether a put without a condition is one step at the server. A version at MinIO has the time at which its
// request began: one that had to wait goes below those that overtook it, is acknowledged, and never was what the key held
// (docs/capabilities.md, note 6).
func (o opened) plainPuts() bool { return o.name != "minio-a" }

// honoursDeletes reports whether the server itself keeps the condition of a delete: MinIO ignores it. versitygw compares and removes
// in two steps (docs/capabilities.md, note 1), so its deletes are no part of a register.
func (o opened) honoursDeletes() bool {
	return o.bucket.Capabilities().DeleteGuard == driver.GuardNative && o.name != "versitygw"
}
