package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// partSize of the user's upload; bucketmesh cuts its own parts.
const partSize = 32 << 20

// memoryResult is what is printed.
type memoryResult struct {
	Size    int64   `json:"sizeBytes"`
	Idle    int64   `json:"idleBytes"` // the high-water mark before the object came
	Peak    int64   `json:"peakBytes"` // the high-water mark after it had passed
	Limit   int64   `json:"limitBytes"`
	Seconds float64 `json:"seconds"` // upload acknowledged -> readable at the other side
	SHA256  string  `json:"sha256"`
}

// memory lets one large object pass and reads the process's high-water mark.
func memory(ctx context.Context, ro rigOptions, size, limit int64, out, progress io.Writer) (err error) {
	if size < 1 || limit < 1 {
		return errors.New("--mib and --limit-mib must be at least 1")
	}
	res := memoryResult{Size: size << 20, Limit: limit << 20}
	r, err := startRig(ctx, ro, progress)
	defer func() { err = errors.Join(err, r.stop(err != nil)) }()
	if err != nil {
		return err
	}
	if res.Idle, err = highWater(r.up.Process.Pid); err != nil {
		return err
	}
	const key = "large/object.bin"
	sum, err := upload(ctx, r.a, bucketOurs, key, res.Size)
	if err != nil {
		return err
	}
	acked := time.Now()
	after, ok, err := waitFor(ctx, r.b, bucketOurs, key, 10*time.Minute)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("the object was not seen: %v", ok))
	}
	res.Seconds = after.Sub(acked).Seconds()
	if res.SHA256, err = download(ctx, r.b, bucketOurs, key); err != nil {
		return err
	}
	if res.SHA256 != sum {
		return fmt.Errorf("the object at the other side has SHA-256 %s, want %s", res.SHA256, sum)
	}
	if res.Peak, err = highWater(r.up.Process.Pid); err != nil {
		return err
	}
	if ro.output == "json" {
		err = json.NewEncoder(out).Encode(res)
	} else {
		_, err = fmt.Fprintf(out, "%d MiB passed in %.1f s, equal by SHA-256; resident memory: idle %d MiB, peak %d MiB, limit %d MiB\n",
			res.Size>>20, res.Seconds, res.Idle>>20, res.Peak>>20, res.Limit>>20)
	}
	if err == nil && res.Peak > res.Limit {
		err = fmt.Errorf("peak of %d MiB is over the limit of %d MiB", res.Peak>>20, res.Limit>>20)
	}
	return err
}

// upload streams a random object in parts and returns its SHA-256.
func upload(ctx context.Context, c *s3.Client, bucket, key string, size int64) (string, error) {
	up, err := c.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", fmt.Errorf("begin upload: %w", err)
	}
	sum := sha256.New()
	rnd := rand.NewChaCha8([32]byte{1})
	var parts []types.CompletedPart
	part := make([]byte, partSize)
	for n := int32(1); size > 0; n++ {
		b := part[:min(size, partSize)]
		for i := 0; i+8 <= len(b); i += 8 {
			binary.LittleEndian.PutUint64(b[i:], rnd.Uint64())
		}
		sum.Write(b)
		p, err := c.UploadPart(ctx, &s3.UploadPartInput{Bucket: &bucket, Key: &key, UploadId: up.UploadId, PartNumber: aws.Int32(n), Body: bytes.NewReader(b)})
		if err != nil {
			return "", fmt.Errorf("put part %d: %w", n, err)
		}
		parts = append(parts, types.CompletedPart{PartNumber: aws.Int32(n), ETag: p.ETag})
		size -= int64(len(b))
	}
	_, err = c.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
		Bucket: &bucket, Key: &key, UploadId: up.UploadId, MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
	})
	if err != nil {
		return "", fmt.Errorf("complete upload: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func download(ctx context.Context, c *s3.Client, bucket, key string) (string, error) {
	out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &key})
	if err != nil {
		return "", fmt.Errorf("get: %w", err)
	}
	defer out.Body.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, out.Body); err != nil {
		return "", fmt.Errorf("read: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

// highWater is the most resident memory that a process ever had, in bytes: VmHWM of Linux.
func highWater(pid int) (int64, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return 0, fmt.Errorf("read the process's memory (Linux only): %w", err)
	}
	for line := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errors.New("read the process's memory: no VmHWM")
}
