//! What a client is told when too few nodes have taken a blob.

use super::*;

async fn told(took: [Took; 3]) -> Result<(), Error> {
    let (sender, mut answers) = unbounded_channel();
    for took in took {
        sender.send(took).unwrap();
    }
    drop(sender);
    wait_for_quorum(3, &mut answers).await
}

#[tokio::test]
async fn one_full_node_does_not_make_the_store_full() {
    use Took::{Full, Refused, Unreachable, Yes};
    assert_eq!(
        told([Full, Unreachable, Yes]).await,
        Err(Error::Unavailable)
    );
    assert_eq!(
        told([Unreachable, Yes, Full]).await,
        Err(Error::Unavailable)
    );
    assert_eq!(told([Full, Refused, Yes]).await, Err(Error::NotStored));
    assert_eq!(told([Full, Yes, Full]).await, Err(Error::Full));
    assert_eq!(told([Full, Yes, Yes]).await, Ok(()));
}
