package s3

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/bucketmesh/bucketmesh/pkg/errkind"
)

// maxConfiguration bounds an answer. S3 takes 100 entries in a configuration, which are less than 200 KiB.
const maxConfiguration = 4 << 20

// known are the elements of a configuration that the SDK reads and writes, by their path.
var known = map[string]bool{
	"notificationconfiguration":                          true,
	"notificationconfiguration/eventbridgeconfiguration": true,
}

// knownEntry are the elements of one entry.
var knownEntry = map[string]bool{
	"": true, "/id": true, "/event": true, "/queue": true, "/topic": true, "/cloudfunction": true, "/filter": true, "/filter/s3key": true,
	"/filter/s3key/filterrule": true, "/filter/s3key/filterrule/name": true, "/filter/s3key/filterrule/value": true,
}

// read gets the configuration.
func (b *Bucket) read(ctx context.Context) (*types.NotificationConfiguration, error) {
	ctx, cancel := context.WithTimeout(ctx, b.cfg.RequestTimeout)
	defer cancel()
	var raw []byte
	out, err := b.client.GetBucketNotificationConfiguration(ctx, &awss3.GetBucketNotificationConfigurationInput{Bucket: aws.String(b.cfg.Replica.Bucket)},
		func(o *awss3.Options) { o.APIOptions = append(o.APIOptions, keepBody(&raw)) })
	if err != nil {
		return nil, b.fail("read the notification configuration of the bucket "+b.cfg.Replica.Bucket, "s3:GetBucketNotification", err)
	}
	if err := onlyKnown(raw); err != nil {
		return nil, err
	}
	return &types.NotificationConfiguration{
		EventBridgeConfiguration: out.EventBridgeConfiguration, LambdaFunctionConfigurations: out.LambdaFunctionConfigurations,
		QueueConfigurations: out.QueueConfigurations, TopicConfigurations: out.TopicConfigurations,
	}, nil
}

// keepBody copies the answer's body before the SDK reads it.
func keepBody(raw *[]byte) func(*middleware.Stack) error {
	return func(s *middleware.Stack) error {
		return s.Deserialize.Add(middleware.DeserializeMiddlewareFunc("KeepBody",
			func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
				out, meta, err := next.HandleDeserialize(ctx, in)
				resp, ok := out.RawResponse.(*smithyhttp.Response)
				if err != nil || !ok || resp.Body == nil {
					return out, meta, err
				}
				data, err := io.ReadAll(io.LimitReader(resp.Body, maxConfiguration+1))
				if err = errors.Join(err, resp.Body.Close()); err != nil {
					return out, meta, fmt.Errorf("read answer: %w", err)
				}
				if len(data) > maxConfiguration {
					return out, meta, errkind.New(errkind.Unsupported, "the configuration is larger than %d bytes", maxConfiguration)
				}
				*raw = data
				resp.Body = io.NopCloser(bytes.NewReader(data))
				return out, meta, nil
			}), middleware.After)
	}
}

// onlyKnown refuses a configuration that has elements which the SDK would leave out when it is written back.
func onlyKnown(raw []byte) error {
	d := xml.NewDecoder(bytes.NewReader(raw))
	var path []string
	for {
		t, err := d.Token()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return errkind.New(errkind.Unavailable, "read the notification configuration: %w", err)
		}
		switch e := t.(type) {
		case xml.StartElement:
			path = append(path, e.Name.Local)
			if !isKnown(strings.ToLower(strings.Join(path, "/"))) {
				return errkind.New(errkind.Unsupported, "the bucket's notification configuration has the element %s, which this version does not "+
					"know and would lose when it writes the rest back; set this bucket up by hand", strings.Join(path, "/"))
			}
		case xml.EndElement:
			path = path[:len(path)-1]
		}
	}
}

func isKnown(path string) bool {
	for _, kind := range []string{"queue", "topic", "cloudfunction"} {
		if rest, ok := strings.CutPrefix(path, "notificationconfiguration/"+kind+"configuration"); ok {
			return knownEntry[rest]
		}
	}
	return known[path]
}
