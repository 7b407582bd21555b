package demo

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
)

// azureSite is a container at a server that speaks Azure Blob Storage's protocol. An ETag changes with every edit.
type azureSite struct {
	Place

	container *container.Client
	account   string
	key       string
}

func newAzureSite(name, endpoint, account, key, bucket string) (*azureSite, error) {
	cred, err := container.NewSharedKeyCredential(account, key)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	c, err := container.NewClientWithSharedKeyCredential(endpoint+"/"+account+"/"+bucket, cred, &container.ClientOptions{
		ClientOptions: azcore.ClientOptions{Retry: policy.RetryOptions{MaxRetries: -1}, Transport: userClient()},
	})
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", name, err)
	}
	return &azureSite{
		Place:     Place{Name: name, Provider: "azblob", Server: "azurite", Endpoint: endpoint, Bucket: bucket, EditsUntold: true},
		container: c, account: account, key: key,
	}, nil
}

// URL implements Site.
func (s *azureSite) URL() string {
	return "azblob://" + s.account + "/" + s.Bucket + "?endpoint=" + s.Endpoint + "&credentials=" + credentialsName
}

// Guide implements Site.
func (s *azureSite) Guide() Guide {
	tool := func(verb string) string { return "az storage blob " + verb + " -c " + s.Bucket + " -o none " }
	return Guide{
		Setup: []string{"export AZURE_STORAGE_CONNECTION_STRING='DefaultEndpointsProtocol=http;AccountName=" + s.account +
			";AccountKey=" + s.key + ";BlobEndpoint=" + s.Endpoint + "/" + s.account + ";'"},
		Write: tool("upload") + "--overwrite --data @- -n {key}", Read: tool("download") + "-n {key}",
		List: "az storage blob list -c " + s.Bucket + " --prefix {key} -o table",
	}
}

// over is the condition that a blob is as it was read.
func over(tag string) *blob.AccessConditions {
	if tag == "" {
		return nil
	}
	etag := azcore.ETag(tag)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &etag}}
}

func toAzure(metadata map[string]string) map[string]*string {
	m := make(map[string]*string, len(metadata))
	for k, v := range metadata {
		m[k] = &v
	}
	return m
}

func fromAzure(metadata map[string]*string) map[string]string {
	m := make(map[string]string, len(metadata))
	for k, v := range metadata {
		m[k] = value(v)
	}
	return usersOwn(m) // names come back as HTTP spells them, and go on in lower case
}

// value is what the SDK points to, or nothing.
func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// Put implements Site.
func (s *azureSite) Put(ctx context.Context, o Object, body, tag string) error {
	_, err := s.container.NewBlockBlobClient(o.Key).Upload(ctx, streaming.NopCloser(strings.NewReader(body)), &blockblob.UploadOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &o.ContentType}, Metadata: toAzure(o.Metadata), AccessConditions: over(tag),
	})
	if err != nil {
		return fmt.Errorf("put %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Upload implements Site: blocks are staged, and then committed all at once. Nobody tells of an MD5 of the whole.
func (s *azureSite) Upload(ctx context.Context, o Object, body io.Reader) error {
	to := s.container.NewBlockBlobClient(o.Key)
	ids := make([]string, (o.Size+partSize-1)/partSize)
	err := parts(body, o.Size, func(i int, part []byte) error {
		ids[i] = base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%06d", i))
		if _, err := to.StageBlock(ctx, ids[i], streaming.NopCloser(bytes.NewReader(part)), nil); err != nil {
			return fmt.Errorf("stage block %d of %s at %s: %w", i+1, o.Key, s.Name, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	_, err = to.CommitBlockList(ctx, ids, &blockblob.CommitBlockListOptions{
		HTTPHeaders: &blob.HTTPHeaders{BlobContentType: &o.ContentType}, Metadata: toAzure(o.Metadata),
	})
	if err != nil {
		return fmt.Errorf("commit blocks of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Edit implements Site, with two requests where the content type changes. Azure tells nobody of either.
func (s *azureSite) Edit(ctx context.Context, o Object) error {
	b := s.container.NewBlobClient(o.Key)
	now, err := b.GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: over(o.Tag)})
	if err == nil {
		var set blob.SetMetadataResponse
		set, err = b.SetMetadata(ctx, toAzure(o.Metadata), &blob.SetMetadataOptions{AccessConditions: over(o.Tag)})
		o.Tag = string(value(set.ETag))
	}
	if err == nil && value(now.ContentType) != o.ContentType {
		_, err = b.SetHTTPHeaders(ctx, blob.HTTPHeaders{BlobContentType: &o.ContentType, BlobContentMD5: now.ContentMD5},
			&blob.SetHTTPHeadersOptions{AccessConditions: over(o.Tag)})
	}
	if err != nil {
		return fmt.Errorf("edit metadata of %s at %s: %w", o.Key, s.Name, err)
	}
	return nil
}

// Remove implements Site.
func (s *azureSite) Remove(ctx context.Context, key string) error {
	if _, err := s.container.NewBlobClient(key).Delete(ctx, nil); err != nil {
		return fmt.Errorf("delete %s at %s: %w", key, s.Name, err)
	}
	return nil
}

// Head implements Site.
func (s *azureSite) Head(ctx context.Context, key string) (o Object, ok bool, err error) {
	p, err := s.container.NewBlobClient(key).GetProperties(ctx, nil)
	var answer *azcore.ResponseError
	if errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound {
		return Object{}, false, nil
	}
	if err != nil {
		return Object{}, false, fmt.Errorf("head %s at %s: %w", key, s.Name, err)
	}
	return Object{
		Key: key, Tag: string(value(p.ETag)), MD5: hex.EncodeToString(p.ContentMD5), Size: value(p.ContentLength),
		ContentType: value(p.ContentType), Metadata: fromAzure(p.Metadata),
	}, true, nil
}

// Read implements Site.
func (s *azureSite) Read(ctx context.Context, key string) (Object, error) {
	r, err := s.container.NewBlobClient(key).DownloadStream(ctx, nil)
	if err != nil {
		return Object{}, fmt.Errorf("get %s at %s: %w", key, s.Name, err)
	}
	defer func() { _ = r.Body.Close() }()
	o := Object{
		Key: key, Tag: string(value(r.ETag)), MD5: hex.EncodeToString(r.ContentMD5),
		ContentType: value(r.ContentType), Metadata: fromAzure(r.Metadata),
	}
	if err := o.digest(r.Body); err != nil {
		return Object{}, fmt.Errorf("read %s at %s: %w", key, s.Name, err)
	}
	return o, nil
}

// List implements Site.
func (s *azureSite) List(ctx context.Context) (map[string]Object, error) {
	all := map[string]Object{}
	for pages := s.container.NewListBlobsFlatPager(nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.Name, err)
		}
		for _, item := range page.Segment.BlobItems {
			if key := value(item.Name); !reserved(key) && item.Properties != nil {
				all[key] = Object{Key: key, Tag: string(value(item.Properties.ETag)), Size: value(item.Properties.ContentLength)}
			}
		}
	}
	return all, nil
}
