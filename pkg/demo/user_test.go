package demo_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/bucketmesh/bucketmesh/pkg/demo"
)

// user does with a replica what users do, with clients of the tests' own: nothing of the demo's is between a test and a server.
type user interface {
	list() []string
	get(key string) (body []byte, contentType string, meta map[string]string)
	put(key, body string)
	remove(key string)
}

func userOf(t *testing.T, d *demo.Demo, s demo.Site) user {
	t.Helper()
	at := s.Where()
	switch at.Provider {
	case "s3":
		return &s3User{t, at.Bucket, s3.New(s3.Options{
			Region: "us-east-1", BaseEndpoint: &at.Endpoint, UsePathStyle: true,
			Credentials: credentials.NewStaticCredentialsProvider("demo", d.Secret(), ""),
		})}
	case "gcs":
		return &gcsUser{t, at.Endpoint, at.Bucket}
	case "azblob":
		key, err := container.NewSharedKeyCredential("bucketmeshdemo", d.AccountKey())
		if err != nil {
			t.Fatal(err)
		}
		c, err := container.NewClientWithSharedKeyCredential(at.Endpoint+"/bucketmeshdemo/"+at.Bucket, key, nil)
		if err != nil {
			t.Fatal(err)
		}
		return &azureUser{t, c}
	}
	t.Fatalf("replica %s has the provider %q", at.Name, at.Provider)
	return nil
}

type s3User struct {
	t      *testing.T
	bucket string
	client *s3.Client
}

func (u *s3User) ok(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *s3User) list() (keys []string) {
	pages := s3.NewListObjectsV2Paginator(u.client, &s3.ListObjectsV2Input{Bucket: &u.bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(u.t.Context())
		u.ok(err)
		for _, o := range page.Contents {
			keys = append(keys, *o.Key)
		}
	}
	return keys
}

func (u *s3User) get(key string) ([]byte, string, map[string]string) {
	out, err := u.client.GetObject(u.t.Context(), &s3.GetObjectInput{Bucket: &u.bucket, Key: &key})
	u.ok(err)
	defer func() { _ = out.Body.Close() }()
	body, err := io.ReadAll(out.Body)
	u.ok(err)
	return body, aws.ToString(out.ContentType), out.Metadata
}

func (u *s3User) put(key, body string) {
	_, err := u.client.PutObject(u.t.Context(), &s3.PutObjectInput{Bucket: &u.bucket, Key: &key, Body: strings.NewReader(body)})
	u.ok(err)
}

func (u *s3User) remove(key string) {
	_, err := u.client.DeleteObject(u.t.Context(), &s3.DeleteObjectInput{Bucket: &u.bucket, Key: &key})
	u.ok(err)
}

// gcsUser speaks the JSON API as it is documented, with the URLs that a person is told of.
type gcsUser struct {
	t                *testing.T
	endpoint, bucket string
}

func (u *gcsUser) do(method, path, contentType string, body io.Reader, into any) []byte {
	u.t.Helper()
	req, err := http.NewRequestWithContext(u.t.Context(), method, u.endpoint+path, body)
	if err != nil {
		u.t.Fatal(err)
	}
	req.Header.Set("Content-Type", contentType)
	res, err := new(http.Client).Do(req)
	if err != nil {
		u.t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode/100 != 2 {
		u.t.Fatalf("%s %s: %s, %v: %s", method, path, res.Status, err, answer)
	}
	if into != nil {
		if err := json.Unmarshal(answer, into); err != nil {
			u.t.Fatalf("%s %s: %v: %s", method, path, err, answer)
		}
	}
	return answer
}

func (u *gcsUser) at(key string) string {
	return "/storage/v1/b/" + u.bucket + "/o/" + url.PathEscape(key)
}

func (u *gcsUser) list() (keys []string) {
	for token := ""; ; {
		var page struct {
			Items         []struct{ Name string }
			NextPageToken string
		}
		u.do(http.MethodGet, "/storage/v1/b/"+u.bucket+"/o?pageToken="+url.QueryEscape(token), "", nil, &page)
		for _, o := range page.Items {
			keys = append(keys, o.Name)
		}
		if token = page.NextPageToken; token == "" {
			return keys
		}
	}
}

func (u *gcsUser) get(key string) ([]byte, string, map[string]string) {
	var o struct {
		ContentType string
		Metadata    map[string]string
	}
	u.do(http.MethodGet, u.at(key), "", nil, &o)
	return u.do(http.MethodGet, u.at(key)+"?alt=media", "", nil, nil), o.ContentType, o.Metadata
}

func (u *gcsUser) put(key, body string) {
	u.do(http.MethodPost, "/upload/storage/v1/b/"+u.bucket+"/o?uploadType=media&name="+url.QueryEscape(key), "text/plain", strings.NewReader(body), nil)
}

func (u *gcsUser) remove(key string) { u.do(http.MethodDelete, u.at(key), "", nil, nil) }

type azureUser struct {
	t         *testing.T
	container *container.Client
}

func (u *azureUser) ok(err error) {
	u.t.Helper()
	if err != nil {
		u.t.Fatal(err)
	}
}

func (u *azureUser) list() (keys []string) {
	for pages := u.container.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(u.t.Context())
		u.ok(err)
		for _, b := range page.Segment.BlobItems {
			keys = append(keys, *b.Name)
		}
	}
	return keys
}

func (u *azureUser) get(key string) ([]byte, string, map[string]string) {
	out, err := u.container.NewBlobClient(key).DownloadStream(u.t.Context(), nil)
	u.ok(err)
	defer func() { _ = out.Body.Close() }()
	body, err := io.ReadAll(out.Body)
	u.ok(err)
	meta := map[string]string{}
	for k, v := range out.Metadata {
		meta[k] = *v
	}
	return body, *out.ContentType, meta
}

func (u *azureUser) put(key, body string) {
	_, err := u.container.NewBlockBlobClient(key).Upload(u.t.Context(), streaming.NopCloser(strings.NewReader(body)), nil)
	u.ok(err)
}

func (u *azureUser) remove(key string) {
	_, err := u.container.NewBlobClient(key).Delete(u.t.Context(), nil)
	u.ok(err)
}
