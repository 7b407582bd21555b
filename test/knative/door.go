package knative

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/bucketmesh/bucketmesh/pkg/demo/emulator"
)

// door is where notifications of a replica are taken.
type door struct {
	replica string
	url     string                           // with the secret in its query, where senders have it there
	secret  string                           // name of that parameter; "" is the header Authorization
	says    func(key string) ([]byte, error) // the notification of a put
}

// doors of the fleet's replicas. getenv says where those are that are pushed to.
func (f fleet) doors(normalizer string, getenv func(string) string) []door {
	if !f.pushed {
		return []door{{replica: f.names[0], url: normalizer + "/s3/" + f.names[0], says: minioSays}}
	}
	account := getenv("BUCKETMESH_TEST_AZURE_ACCOUNT")
	return []door{
		{replica: f.names[0], url: getenv("BUCKETMESH_E2E_GCS_WEBHOOK"), secret: "token", says: pubsubSays},
		{replica: f.names[1], url: getenv("BUCKETMESH_E2E_AZURE_WEBHOOK"), secret: "code", says: func(key string) ([]byte, error) { return gridSays(account, key) }},
	}
}

// notify posts a notification to a door and says the status. A token of "" is none; header is set as it is.
func (w *world) notify(ctx context.Context, d door, key, token string, header http.Header) (int, error) {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", "application/json")
	to, err := url.Parse(d.url)
	if err != nil {
		return 0, fmt.Errorf("webhook of %s: %w", d.replica, err)
	}
	q := to.Query()
	q.Del(d.secret)
	switch {
	case token == "":
	case d.secret == "":
		header.Set("Authorization", "Bearer "+token)
	default:
		q.Set(d.secret, token)
	}
	to.RawQuery = q.Encode()
	body, err := d.says(key)
	if err != nil {
		return 0, err
	}
	return w.post(ctx, to.String(), body, header)
}

// minioSays is what MinIO says of a put. Its key is nobody's, so that a look at the bucket finds nothing.
func minioSays(key string) ([]byte, error) {
	tag := strings.ToLower(rand.Text())
	return fmt.Appendf(nil, `{"EventName":"s3:ObjectCreated:Put","Key":"%[1]s/%[2]s","Records":[{"eventVersion":"2.0","eventSource":"minio:s3","awsRegion":"",`+
		`"eventTime":"%[3]s","eventName":"s3:ObjectCreated:Put","userIdentity":{"principalId":"forger"},`+
		`"requestParameters":{"principalId":"forger","region":"","sourceIPAddress":"127.0.0.1"},"responseElements":{"x-amz-request-id":"%[4]s"},`+
		`"s3":{"s3SchemaVersion":"1.0","configurationId":"Config","bucket":{"name":"%[1]s","ownerIdentity":{"principalId":"forger"},"arn":"arn:aws:s3:::%[1]s"},`+
		`"object":{"key":"%[2]s","size":1,"eTag":"%[4]s","contentType":"text/plain","sequencer":"%016[5]X"}},"source":{"host":"127.0.0.1"}}]}`,
		group, key, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), tag, time.Now().UnixNano()), nil
}

// pubsubSays is what a push subscription of Pub/Sub says of an object that Cloud Storage finalized.
func pubsubSays(key string) ([]byte, error) {
	generation := time.Now().UnixMicro()
	object := fmt.Sprintf(`{"kind":"storage#object","name":"%s","bucket":"%s","generation":"%d","metageneration":"1","size":"1","contentType":"text/plain"}`,
		key, group, generation)
	return fmt.Appendf(nil, `{"message":{"attributes":{"notificationConfig":"projects/_/buckets/%[1]s/notificationConfigs/1","eventType":"OBJECT_FINALIZE",`+
		`"payloadFormat":"JSON_API_V1","bucketId":"%[1]s","objectId":"%[2]s","objectGeneration":"%[3]d","eventTime":"%[4]s"},"data":"%[5]s",`+
		`"messageId":"%[3]d","publishTime":"%[4]s"},"subscription":"projects/forger/subscriptions/forger"}`,
		group, key, generation, time.Now().UTC().Format(time.RFC3339Nano), base64.StdEncoding.EncodeToString([]byte(object))), nil
}

// gridSays is what Event Grid says of a blob that was put.
func gridSays(account, key string) ([]byte, error) {
	n, id := int64(1), strings.ToLower(rand.Text())
	text, err := json.Marshal([]emulator.Event{{
		Topic:     "/subscriptions/0/resourceGroups/forger/providers/Microsoft.Storage/storageAccounts/" + account,
		Subject:   "/blobServices/default/containers/" + group + "/blobs/" + key,
		EventType: "Microsoft.Storage.BlobCreated", EventTime: time.Now().UTC().Format(time.RFC3339Nano), ID: id, MetadataVersion: "1",
		Data: emulator.EventData{
			API: "PutBlob", RequestID: id, ETag: "0x" + strings.ToUpper(fmt.Sprintf("%x", time.Now().UnixNano())), ContentType: "text/plain", ContentLength: &n,
			BlobType: "BlockBlob", URL: "https://" + account + ".blob.core.windows.net/" + group + "/" + key,
			Sequencer: fmt.Sprintf("%032X", time.Now().UnixNano()),
		},
	}})
	if err != nil {
		return nil, fmt.Errorf("make event: %w", err)
	}
	return text, nil
}
