package conformance_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/appendblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/pageblob"
)

// azureUser is a user of Azurite.
type azureUser struct {
	endpoint, account string
	key               *container.SharedKeyCredential
	http              *http.Client
}

func newAzureUser(t *testing.T, endpoint string) *azureUser {
	t.Helper()
	u := &azureUser{
		endpoint: endpoint, account: env(t, "BUCKETMESH_TEST_AZURE_ACCOUNT"),
		http: &http.Client{Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: parallel}}, // Go would unpack gzip
	}
	var err error
	if u.key, err = container.NewSharedKeyCredential(u.account, env(t, "BUCKETMESH_TEST_AZURE_KEY")); err != nil {
		t.Fatal(err)
	}
	return u
}

func (u *azureUser) url(bucket string) string {
	return fmt.Sprintf("azblob://%s/%s?endpoint=%s&credentials=%s", u.account, bucket, u.endpoint, credentialsName)
}

func (u *azureUser) container(bucket string) (*container.Client, error) {
	return container.NewClientWithSharedKeyCredential(u.endpoint+"/"+u.account+"/"+bucket, u.key, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Transport: u.http},
	})
}

func (u *azureUser) must(t *testing.T, bucket string) *container.Client {
	t.Helper()
	c, err := u.container(bucket)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (u *azureUser) create(t *testing.T, bucket string) {
	t.Helper()
	if _, err := u.must(t, bucket).Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func (u *azureUser) write(ctx context.Context, bucket, key string, o thing) error {
	c, err := u.container(bucket)
	if err != nil {
		return err
	}
	h := &blob.HTTPHeaders{
		BlobContentType: opt(o.contentType), BlobContentEncoding: opt(o.encoding), BlobContentLanguage: opt(o.language),
		BlobContentDisposition: opt(o.disposition), BlobCacheControl: opt(o.cache),
	}
	m := map[string]*string{}
	for k, v := range o.meta {
		m[k] = &v
	}
	body := streaming.NopCloser(strings.NewReader(o.body))
	b := c.NewBlockBlobClient(key)
	switch o.as {
	case "append":
		a := c.NewAppendBlobClient(key)
		if _, err := a.Create(ctx, &appendblob.CreateOptions{HTTPHeaders: h, Metadata: m}); err != nil {
			return err
		}
		_, err := a.AppendBlock(ctx, body, nil)
		return err
	case "page":
		p := c.NewPageBlobClient(key)
		if _, err := p.Create(ctx, int64(len(o.body)), &pageblob.CreateOptions{HTTPHeaders: h, Metadata: m}); err != nil {
			return err
		}
		_, err := p.UploadPages(ctx, body, blob.HTTPRange{Count: int64(len(o.body))}, nil)
		return err
	case "multipart":
		_, err := b.UploadStream(ctx, strings.NewReader(o.body), &blockblob.UploadStreamOptions{BlockSize: 5 << 20, HTTPHeaders: h, Metadata: m})
		return err
	}
	if _, err := b.Upload(ctx, body, &blockblob.UploadOptions{HTTPHeaders: h, Metadata: m, Tags: o.tags}); err != nil {
		return err
	}
	switch o.as {
	case "":
	case "storage class":
		_, err = b.SetTier(ctx, blob.AccessTierCool, nil)
	case "snapshot":
		_, err = b.CreateSnapshot(ctx, nil)
	case "lease":
		var l *lease.BlobClient
		if l, err = lease.NewBlobClient(b, nil); err == nil {
			_, err = l.AcquireLease(ctx, 60, nil)
		}
	default:
		err = unknownWay(o.as)
	}
	return err
}

func (u *azureUser) read(t *testing.T, bucket, key string) thing {
	t.Helper()
	b := u.must(t, bucket).NewBlobClient(key)
	out, err := b.DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	body, err := io.ReadAll(out.Body)
	if err != nil {
		t.Fatalf("read %q: %v", key, err)
	}
	_ = out.Body.Close()
	o := thing{
		body: string(body), contentType: deref(out.ContentType), encoding: deref(out.ContentEncoding), language: deref(out.ContentLanguage),
		disposition: deref(out.ContentDisposition), cache: deref(out.CacheControl), meta: map[string]string{}, tags: map[string]string{},
		md5: hex.EncodeToString(out.ContentMD5),
	}
	for k, v := range out.Metadata { // the SDK gives names as HTTP spells them
		o.meta[strings.ToLower(k)] = deref(v)
	}
	tags, err := b.GetTags(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, tag := range tags.BlobTagSet {
		o.tags[deref(tag.Key)] = deref(tag.Value)
	}
	return o
}

func (u *azureUser) list(t *testing.T, bucket string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for p := u.must(t, bucket).NewListBlobsFlatPager(nil); p.More(); {
		page, err := p.NextPage(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range page.Segment.BlobItems {
			all[deref(b.Name)] = string(*b.Properties.ETag)
		}
	}
	return all
}

func (u *azureUser) remove(t *testing.T, bucket, key string) {
	t.Helper()
	if _, err := u.must(t, bucket).NewBlobClient(key).Delete(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}
