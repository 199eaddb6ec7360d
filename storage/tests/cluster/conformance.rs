//! The checks that `object_store` has for any store, as far as this slice goes. Not yet: those that copy on the server
//! (`rename_and_copy`, `copy_if_not_exists`, `copy_rename_nonexistent_object`) and those that upload in parts
//! (`stream_get`, `put_get_attributes`, `multipart*`).

use std::fmt;
use std::ops::Range;

use crate::common::TestCluster;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::aws::AmazonS3;
use object_store::path::Path;
use object_store::*;

#[tokio::test]
async fn conditional_puts_conform() {
    let cluster = TestCluster::start().await;
    integration::put_opts(&cluster.store(0), true).await;
}

#[tokio::test]
async fn conditional_gets_conform() {
    let cluster = TestCluster::start().await;
    integration::get_opts(&cluster.store(0)).await;
}

#[tokio::test]
async fn listings_conform() {
    let cluster = TestCluster::start().await;
    let store = cluster.store(0);
    integration::list_uses_directories_correctly(&store).await;
    integration::list_with_delimiter(&store).await;
    integration::list_with_offset_exclusivity(&store).await;
}

#[tokio::test]
async fn paginated_listings_conform() {
    let cluster = TestCluster::start().await;
    let store = cluster.store(0);
    integration::list_paginated(&store, &store).await;
}

#[tokio::test]
async fn what_is_absent_conforms() {
    let cluster = TestCluster::start().await;
    let missing = integration::get_nonexistent_object(&cluster.store(0), None).await;
    assert!(matches!(missing, Err(Error::NotFound { .. })));
}

/// `put_get_delete_list` copies three objects on its way; here the client does that, everything else is the server.
#[tokio::test]
async fn puts_gets_deletes_and_lists_conform() {
    let cluster = TestCluster::start().await;
    integration::put_get_delete_list(&CopiesItself(cluster.store(0))).await;
}

/// The same again with a node down.
#[tokio::test]
async fn puts_gets_deletes_and_lists_conform_with_a_node_down() {
    let mut cluster = TestCluster::start().await;
    cluster.stop(2).await;
    integration::put_get_delete_list(&CopiesItself(cluster.store(0))).await;
    integration::put_opts(&cluster.store(1), true).await;
}

#[derive(Debug)]
struct CopiesItself(AmazonS3);

impl fmt::Display for CopiesItself {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[async_trait::async_trait]
impl ObjectStore for CopiesItself {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        opts: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, opts).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.0.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, _: CopyOptions) -> Result<()> {
        let data = self.0.get(from).await?.bytes().await?;
        self.0.put(to, data.into()).await.map(drop)
    }
}
