package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// What the servers are started with.
const (
	accessKey = "bench"
	secretKey = "bench-secret"
	token     = "bench-notify"
	mcPin     = "github.com/minio/mc@v0.0.0-20250313080218-cf909e1063a9"

	bucketOurs   = "ours"   // kept the same by bucketmesh
	bucketTheirs = "theirs" // replicated by MinIO
)

type rigOptions struct {
	ports   int
	output  string
	durable bool // both webhook targets, not the quick one alone
}

// rig is two MinIO servers and one bucketmesh between them.
type rig struct {
	rigOptions
	dir      string // of this run
	a, b     *s3.Client
	up       *exec.Cmd
	log      *os.File
	progress io.Writer
}

func (r *rig) endpoint(n int) string { return "http://127.0.0.1:" + strconv.Itoa(r.ports+n) }

// startRig starts the servers, makes the buckets and starts bucketmesh. The caller calls stop, whatever happens.
func startRig(ctx context.Context, o rigOptions, progress io.Writer) (*rig, error) {
	if _, err := os.Stat("hack/servers.sh"); err != nil {
		return nil, fmt.Errorf("run it in the top folder of a checkout: %w", err)
	}
	cache := os.Getenv("BUCKETMESH_CACHE")
	if cache == "" {
		cache = ".cache"
	}
	dir, err := filepath.Abs(filepath.Join(cache, "bench-"+strconv.Itoa(o.ports)))
	if err != nil {
		return nil, err
	}
	r := &rig{rigOptions: o, dir: dir, progress: progress}
	if err := r.servers(ctx, "wipe"); err != nil {
		return r, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return r, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return r, err
	}
	if err := r.run(ctx, "go", "build", "-buildvcs=false", "-o", filepath.Join(dir, "bucketmesh"), "./services/bucketmesh"); err != nil {
		return r, err
	}
	if err := r.servers(ctx, "up", "minio"); err != nil {
		return r, err
	}
	r.a, r.b = newClient(r.endpoint(1)), newClient(r.endpoint(2))
	for _, c := range []*s3.Client{r.a, r.b} {
		for _, name := range []string{bucketOurs, bucketTheirs} {
			if err := makeBucket(ctx, c, name); err != nil {
				return r, err
			}
		}
		if err := r.notify(ctx, c); err != nil {
			return r, err
		}
	}
	return r, r.startUp(ctx)
}

func (r *rig) servers(ctx context.Context, args ...string) error {
	return r.run(ctx, "hack/servers.sh", args...)
}

// run runs a program of the checkout; what it says goes to standard error.
func (r *rig) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(),
		"BUCKETMESH_PORT_BASE="+strconv.Itoa(r.ports), "BUCKETMESH_SERVERS_DIR="+filepath.Join(r.dir, "servers"),
		"BUCKETMESH_S3_ACCESS_KEY="+accessKey, "BUCKETMESH_S3_SECRET_KEY="+secretKey, "BUCKETMESH_NOTIFY_TOKEN="+token)
	cmd.Stdout, cmd.Stderr = r.progress, r.progress
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	return nil
}

func newClient(endpoint string) *s3.Client {
	return s3.New(s3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String(endpoint), UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials:                credentials.NewStaticCredentialsProvider(accessKey, secretKey, ""),
		HTTPClient:                 &http.Client{Timeout: 5 * time.Minute, Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
		RequestChecksumCalculation: aws.RequestChecksumCalculationWhenRequired,
		ResponseChecksumValidation: aws.ResponseChecksumValidationWhenRequired,
	})
}

// makeBucket makes a versioned bucket: MinIO's replication wants versions, and bucketmesh is safer with them.
func makeBucket(ctx context.Context, c *s3.Client, name string) error {
	if _, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &name}); err != nil {
		return fmt.Errorf("create bucket %s: %w", name, err)
	}
	_, err := c.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{
		Bucket: &name, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled},
	})
	if err != nil {
		return fmt.Errorf("switch on versions of %s: %w", name, err)
	}
	return nil
}

// notify binds the bucket that is ours to the quick target of hack/servers.sh, or to both: the quick one and the durable one,
// which keeps events on disk while nobody takes them.
func (r *rig) notify(ctx context.Context, c *s3.Client) error {
	conf := &types.NotificationConfiguration{}
	arns := []string{"arn:minio:sqs::T1:webhook"}
	if r.durable {
		arns = append(arns, "arn:minio:sqs::T2:webhook")
	}
	for _, arn := range arns {
		conf.QueueConfigurations = append(conf.QueueConfigurations, types.QueueConfiguration{
			QueueArn: aws.String(arn), Events: []types.Event{types.EventS3ObjectCreated, types.EventS3ObjectRemoved},
		})
	}
	_, err := c.PutBucketNotificationConfiguration(ctx, &s3.PutBucketNotificationConfigurationInput{
		Bucket: aws.String(bucketOurs), NotificationConfiguration: conf,
	})
	if err != nil {
		return fmt.Errorf("set notifications: %w", err)
	}
	return nil
}

// startUp starts bucketmesh and waits until it is ready.
func (r *rig) startUp(ctx context.Context) error {
	group := fmt.Sprintf("apiVersion: bucketmesh.dev/v1alpha1\nkind: SyncGroup\nmetadata:\n  name: bench\nspec:\n  replicas:\n"+
		"  - name: minio-a\n    url: s3://%[1]s?endpoint=%[2]s&dialect=minio&credentials=BENCH\n"+
		"  - name: minio-b\n    url: s3://%[1]s?endpoint=%[3]s&dialect=minio&credentials=BENCH\n", bucketOurs, r.endpoint(1), r.endpoint(2))
	file := filepath.Join(r.dir, "group.yaml")
	if err := os.WriteFile(file, []byte(group), 0o600); err != nil {
		return err
	}
	var err error
	if r.log, err = os.Create(filepath.Join(r.dir, "up.log")); err != nil {
		return err
	}
	listen := "127.0.0.1:" + strconv.Itoa(r.ports)
	r.up = exec.CommandContext(ctx, filepath.Join(r.dir, "bucketmesh"), "up", "-f", file, "--data", filepath.Join(r.dir, "data"), "--listen", listen)
	r.up.Env = append(os.Environ(), "BUCKETMESH_BENCH_ACCESS_KEY_ID="+accessKey, "BUCKETMESH_BENCH_SECRET_ACCESS_KEY="+secretKey,
		"BUCKETMESH_WEBHOOK_TOKENS="+token)
	r.up.Stdout, r.up.Stderr = r.log, r.log
	if err := r.up.Start(); err != nil {
		return fmt.Errorf("start bucketmesh up: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	client := &http.Client{Timeout: 5 * time.Second}
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+listen+"/readyz", nil)
		if err != nil {
			return err
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := pause(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("wait for bucketmesh up: %w; see %s", err, r.log.Name())
		}
	}
}

// stop ends everything that was started and removes the data, unless something failed.
func (r *rig) stop(failed bool) error {
	if r == nil {
		return nil
	}
	var errs []error
	if r.up != nil && r.up.Process != nil {
		errs = append(errs, r.up.Process.Signal(os.Interrupt))
		if err := r.up.Wait(); err != nil {
			errs = append(errs, fmt.Errorf("bucketmesh up: %w", err))
		}
	}
	if r.log != nil {
		errs = append(errs, r.log.Close())
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if failed {
		fmt.Fprintln(r.progress, "data and logs are kept in", r.dir)
		return errors.Join(append(errs, r.servers(ctx, "down"))...)
	}
	return errors.Join(append(errs, r.servers(ctx, "wipe"), os.RemoveAll(r.dir))...)
}

// pause waits for a time, or for the end of the context.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
