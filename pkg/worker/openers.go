package worker

// AllOpeners are the providers that the programs are built with: any mix of them can be in one group.
func AllOpeners() Openers { return Openers{"s3": S3, "gcs": GCS, "azblob": Azure} }
