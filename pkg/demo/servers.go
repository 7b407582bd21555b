package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bucketmesh/bucketmesh/pkg/demo/azurite"
	"github.com/bucketmesh/bucketmesh/pkg/demo/child"
	"github.com/bucketmesh/bucketmesh/pkg/demo/gcsserver"
	"github.com/bucketmesh/bucketmesh/pkg/demo/s3server"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/azure"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/gcs"
	"github.com/bucketmesh/bucketmesh/pkg/normalize/s3"
)

// Serve is what Options.Server runs: one server, of whatever kind the demo wants, until stdin ends.
func Serve(ctx context.Context, stdin io.Reader, stdout *os.File) error {
	return child.Serve(ctx, stdin, stdout, map[string]child.Run{ //nolint:wrapcheck // says "serve"
		s3server.Kind: s3server.Run, gcsserver.Kind: gcsserver.Run, azurite.Kind: azurite.Run,
	})
}

// startTimeout is for all servers. Azurite takes some seconds, and many on a busy machine; what it leaves is enough for what
// stands in for it.
const (
	startTimeout   = time.Minute
	azuriteTimeout = 40 * time.Second
)

func (d *Demo) startServers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	d.servers, d.sites = make([]*child.Process, len(regions)), make([]Site, len(regions))
	start := []func(context.Context, child.Spec) (*child.Process, Site, error){d.startS3, d.startGCS, d.startThird}
	var all errgroup.Group // not one with a context: a server that is starting is closed by Close
	for i, name := range regions {
		all.Go(func() (err error) {
			d.servers[i], d.sites[i], err = start[i](ctx, child.Spec{Name: name, Dir: filepath.Join(d.dir, name), Cleanup: d.dir})
			return err
		})
	}
	return all.Wait() //nolint:wrapcheck // says which server
}

func bucketOf(region string) string { return "media-" + region }

func (d *Demo) startS3(ctx context.Context, at child.Spec) (*child.Process, Site, error) {
	bucket := bucketOf(at.Name)
	s, err := s3server.Start(ctx, d.opts.Server(context.WithoutCancel(ctx)), s3server.Options{
		Name: at.Name, Dir: at.Dir, Cleanup: at.Cleanup, AccessKey: accessKey, SecretKey: d.secret, Bucket: bucket,
		Webhook: d.gate.url(s3.PathPrefix, at.Name, d.token),
	})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says "start s3 server"
	}
	return s.Process, newS3Site(at.Name, s.Endpoint(), bucket, d.secret), nil
}

func (d *Demo) startGCS(ctx context.Context, at child.Spec) (*child.Process, Site, error) {
	bucket := bucketOf(at.Name)
	s, err := gcsserver.Start(ctx, d.opts.Server(context.WithoutCancel(ctx)), at, gcsserver.Options{
		Bucket: bucket, Webhook: d.gate.url(gcs.PathPrefix, at.Name, d.token),
	})
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says "start gcs server"
	}
	site, err := newGCSSite(context.WithoutCancel(ctx), at.Name, s.Endpoint(), bucket)
	if err != nil {
		return s.Process, nil, err
	}
	return s.Process, site, nil
}

// startThird starts Azurite, or what stands in for it where it can't be started. Only it adds to the notes.
func (d *Demo) startThird(ctx context.Context, at child.Spec) (*child.Process, Site, error) {
	if d.opts.Azurite == "" {
		d.note("Azurite was not found: replica %s is at S3, too (to see Azure Blob Storage, install the npm package azurite, or set %s to its program)",
			at.Name, azurite.Variable)
		return d.startS3(ctx, at)
	}
	bucket := bucketOf(at.Name)
	within, cancel := context.WithTimeout(ctx, azuriteTimeout)
	defer cancel()
	s, err := azurite.Start(within, d.opts.Server(context.WithoutCancel(ctx)), at, azurite.Options{
		Program: d.opts.Azurite, Account: account, Key: d.key, Container: bucket, Webhook: d.gate.url(azure.PathPrefix, at.Name, d.token),
	})
	if err != nil && ctx.Err() == nil {
		d.note("Azurite does not start: replica %s is at S3, too (%s)", at.Name, strings.Join(strings.Fields(err.Error()), " "))
		return d.startS3(ctx, at)
	}
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says "start azure server"
	}
	site, err := newAzureSite(at.Name, s.Endpoint(), account, d.key, bucket)
	if err != nil {
		return s.Process, nil, err
	}
	d.note("Azure Blob Storage tells nobody of edits of metadata, only a scan (bucketmesh sync) finds them: nobody edits at %s", at.Name)
	return s.Process, site, nil
}

func (d *Demo) note(format string, args ...any) {
	d.notes = append(d.notes, fmt.Sprintf(format, args...))
}
