package object

import (
	"context"
	"sync/atomic"

	"github.com/bucketmesh/bucketmesh/pkg/object/driver"
)

// Counter counts requests to one bucket. The zero value is ready. It is fed by Count (one per call of a method) or,
// where a driver can tell every HTTP request that it really sends, by that driver (s3.Config.OnRequest =
// counter.Request); use one of the two, not both.
type Counter struct {
	get, put, head, list, del, multipart, other atomic.Int64
}

// Snapshot is what a Counter counted. Put holds the puts and the multipart requests that send or finish something (begin,
// part, complete); listing parts is a List, an abort is a Delete. Multipart is how many of all these belong to
// multipart uploads; it is not in Total again.
type Snapshot struct {
	Get       int64 `json:"get"`
	Put       int64 `json:"put"`
	Head      int64 `json:"head"`
	List      int64 `json:"list"`
	Delete    int64 `json:"delete"`
	Multipart int64 `json:"multipart"`
	Other     int64 `json:"other"`
}

// Total is the number of requests.
func (s Snapshot) Total() int64 { return s.Get + s.Put + s.Head + s.List + s.Delete + s.Other }

// Sub is what happened between t and s.
func (s Snapshot) Sub(t Snapshot) Snapshot {
	return Snapshot{
		s.Get - t.Get, s.Put - t.Put, s.Head - t.Head, s.List - t.List, s.Delete - t.Delete,
		s.Multipart - t.Multipart, s.Other - t.Other,
	}
}

// Add is the sum of two buckets' counts.
func (s Snapshot) Add(t Snapshot) Snapshot {
	return s.Sub(Snapshot{}.Sub(t))
}

// Snapshot reads the counter. Requests that run meanwhile may be in it or not.
func (c *Counter) Snapshot() Snapshot {
	return Snapshot{
		Get: c.get.Load(), Put: c.put.Load(), Head: c.head.Load(), List: c.list.Load(), Delete: c.del.Load(),
		Multipart: c.multipart.Load(), Other: c.other.Load(),
	}
}

// Request counts one request by the name that S3 gives it ("HeadObject", "UploadPart").
func (c *Counter) Request(operation string) {
	switch operation {
	case "GetObject", "GetObjectTagging":
		c.get.Add(1)
	case "PutObject":
		c.put.Add(1)
	case "HeadObject", "HeadBucket":
		c.head.Add(1)
	case "ListObjectsV2", "ListObjectVersions":
		c.list.Add(1)
	case "DeleteObject":
		c.del.Add(1)
	case "CreateMultipartUpload", "UploadPart", "CompleteMultipartUpload":
		c.put.Add(1)
		c.multipart.Add(1)
	case "ListParts":
		c.list.Add(1)
		c.multipart.Add(1)
	case "AbortMultipartUpload":
		c.del.Add(1)
		c.multipart.Add(1)
	default:
		c.other.Add(1)
	}
}

var requestOf = map[Op]string{
	OpStat: "HeadObject", OpOpen: "GetObject", OpPut: "PutObject", OpDelete: "DeleteObject", OpList: "ListObjectsV2",
	OpBegin: "CreateMultipartUpload", OpPutPart: "UploadPart", OpListParts: "ListParts",
	OpComplete: "CompleteMultipartUpload", OpAbort: "AbortMultipartUpload", OpVersions: "ListObjectVersions",
}

func (c *Counter) around(ctx context.Context, k call, next func(context.Context) error) error {
	c.Request(requestOf[k.op])
	return next(ctx)
}

// Count is d with every call counted in c, whether it succeeds or not.
func Count(d driver.Bucket, c *Counter) driver.Bucket { return intercept(d, c) }
