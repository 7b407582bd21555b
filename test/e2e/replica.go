package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"cloud.google.com/go/storage"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"google.golang.org/api/googleapi"
)

// traits say what a replica's users can know of what they overwrite, and so what they may do.
type traits struct {
	versioned bool // the bucket's own history tells; users may write blindly
	exact     bool // a condition tells apart all that a user can change, metadata among it; users write with conditions only
	// neither: a condition tells bytes apart, but not metadata; users write with conditions only, one at a time at a key
}

// replica is one bucket of the group.
type replica struct {
	traits
	name string
	url  string // in the configuration
	from string // what its events name as their source
	pull string // the queue that bucketmesh takes notifications from, if it does
	bucket
}

// bucket is what users do, with the provider's plain SDK: nothing of bucketmesh's own drivers is between the harness and the
// server. No method tries again by itself: the harness has to know of each attempt.
type bucket interface {
	create(ctx context.Context) error
	// look asks for the metadata only.
	look(ctx context.Context, key string) (sight, error)
	put(ctx context.Context, key string, body []byte, p properties, c condition) (written, error)
	// putLarge writes in parts; the condition is on the last step.
	putLarge(ctx context.Context, key string, body []byte, p properties, c condition) (written, error)
	remove(ctx context.Context, key string, c condition) (written, error)
	// copy copies exactly what was seen at the source, on the server. Without properties the source's metadata are kept.
	copy(ctx context.Context, key, from string, source sight, p *properties, c condition) (written, error)
	// edit sets the metadata of exactly what was seen, and leaves the bytes alone.
	edit(ctx context.Context, key string, seen sight, p properties) (written, error)
	// list reads all keys but the reserved ones.
	list(ctx context.Context) (map[string]entry, error)
	get(ctx context.Context, key string) (*content, error)
}

// historian is a bucket that remembers: the versions of every key, oldest first.
type historian interface {
	history(ctx context.Context) (map[string][]stored, error)
}

// properties that users set.
type properties struct {
	contentType string
	meta        map[string]string
}

// condition of a write: that the key is as it was seen. The zero value asks for nothing.
type condition struct {
	asked bool
	seen  sight
}

// written is what a server says of an accepted write.
type written struct{ etag, versionID string }

// content is an object with its bytes.
type content struct {
	body        []byte
	contentType string
	meta        map[string]string // names in lower case
}

// errNothingSent marks failures before the request that would have changed the object.
var errNothingSent = errors.New("nothing was changed")

// authors reads which operations made an object.
func authors(meta map[string]string) (op, body int, err error) {
	if op, err = strconv.Atoi(meta[metaOp]); err != nil {
		return 0, 0, fmt.Errorf("metadata %s: %w", metaOp, err)
	}
	if body, err = strconv.Atoi(meta[metaBody]); err != nil {
		return 0, 0, fmt.Errorf("metadata %s: %w", metaBody, err)
	}
	return op, body, nil
}

// statusOf is the HTTP status of an answer of any provider, or 0 if there was none. No error is 200.
func statusOf(err error) int {
	var (
		s3    *smithyhttp.ResponseError
		gcs   *googleapi.Error
		azure *azcore.ResponseError
	)
	switch {
	case err == nil:
		return http.StatusOK
	case errors.As(err, &s3) && s3.Response != nil && s3.Response.Response != nil:
		return s3.HTTPStatusCode()
	case errors.As(err, &gcs):
		return gcs.Code
	case errors.Is(err, storage.ErrObjectNotExist):
		return http.StatusNotFound
	case errors.As(err, &azure):
		return azure.StatusCode
	}
	return 0
}
