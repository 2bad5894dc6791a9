//! What a lease could send to write somewhere else, to fill memory, or to break what is here.

use std::os::unix::fs::symlink;

use tar::{EntryType, Header};

use super::*;

/// A member of an archive, whatever it says.
fn member(kind: EntryType, name: &[u8], link: &[u8], mode: u32, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_gnu();
    let raw = header.as_old_mut();
    raw.name[..name.len()].copy_from_slice(name);
    raw.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_mtime(1_000_000_000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let padding = vec![0; content.len().wrapping_neg() % 512];
    [header.as_bytes(), content, &padding].concat()
}

fn file(name: &str) -> Vec<u8> {
    member(EntryType::Regular, name.as_bytes(), b"", 0o644, b"theirs")
}

fn directory(name: &str) -> Vec<u8> {
    member(EntryType::Directory, name.as_bytes(), b"", 0o755, b"")
}

fn link(name: &str, to: &str) -> Vec<u8> {
    member(EntryType::Symlink, name.as_bytes(), to.as_bytes(), 0o777, b"")
}

fn same(name: &str, to: &str) -> Vec<u8> {
    member(EntryType::Link, name.as_bytes(), to.as_bytes(), 0o644, b"")
}

fn archive(members: &[Vec<u8>]) -> Vec<u8> {
    [members.concat(), vec![0; 1024]].concat()
}

/// A place here: `here/to` is what a download goes to, everything else is none of its business.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(place.to()).unwrap();
        fs::create_dir(place.path("outside")).unwrap();
        for path in ["outside/file", "here/file", "here/to/ours"] {
            fs::write(place.path(path), "ours").unwrap();
        }
        symlink("../../outside", place.to().join("way")).unwrap();
        place
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn to(&self) -> PathBuf {
        self.path("here/to")
    }

    /// Fails unless the archive is refused for this reason, and everything is as it was.
    fn refuses(&self, what: &str, members: &[Vec<u8>], why: &str) {
        self.refuses_archive(what, &archive(members), why);
    }

    fn refuses_archive(&self, what: &str, archive: &[u8], why: &str) {
        let before = shape(self.0.path());
        let error = land(archive, &self.to(), None, None).expect_err(what);
        assert_eq!(error.exit.code(), 6, "{what}: {error}");
        assert!(error.to_string().contains(why), "{what}: {error}");
        assert_eq!(shape(self.0.path()), before, "{what}");
    }
}

#[test]
fn nothing_leads_out_of_the_destination() {
    let place = Place::new();
    let outside = place.path("outside");
    let outside = outside.to_str().unwrap();
    let out = "it leads out of what is copied";
    place.refuses("absolute", &[file(&format!("{outside}/new"))], out);
    place.refuses("above", &[file("../new")], out);
    place.refuses("above, after a dot", &[file("./../file")], out);
    place.refuses("above, through a directory", &[directory("a/"), file("a/../../file")], out);
    place.refuses("a directory above", &[directory("../new/")], out);
    place.refuses("the directory above", &[directory("..")], out);
    place.refuses("in no directory", &[file("a/new")], "its directory did not come before it");
    place.refuses("in a file", &[file("a"), file("a/new")], "what it is in is no directory");
    let far: String = "d/".repeat(600);
    let long = member(EntryType::GNULongName, b"././@LongLink", b"", 0o644, far.as_bytes());
    place.refuses("deep", &[long, directory("x")], "it is too deep");
}

#[test]
fn no_link_that_leads_out_is_made_and_nothing_is_written_through_one() {
    let place = Place::new();
    let leads = "leads out of what is copied";
    place.refuses("absolute", &[link("l", "/etc")], leads);
    place.refuses("above", &[link("l", "..")], leads);
    place.refuses("above, with more", &[link("l", ".//../outside")], leads);
    place.refuses("above by two", &[directory("a"), link("a/l", "../../file")], leads);
    place.refuses("to nothing that is copied with it", &[link("./", "ours")], "is not copied with it");
    // By a link that leads up to where it is, `..` behind it leads out.
    let up = [directory("a"), link("a/up", ".."), link("l", "a/up/../x")];
    place.refuses("a link by a link", &up, "may lead out of what is copied");
    let through = "what it is in is no directory";
    place.refuses("through a link", &[directory("a"), link("l", "a"), file("l/new")], through);
    place.refuses("a directory through one", &[directory("a"), link("l", "a"), directory("l/new")], through);
    // Where `A` and `a` are one name this goes through a link, elsewhere through nothing.
    place.refuses(
        "through a link in other letters",
        &[directory("d"), link("L", "d"), file("l/new")],
        "refused",
    );
    // What is here is a link to outside, and so none of what is copied goes through it.
    place.refuses("through a link of ours", &[directory("way"), file("way/new")], "this is not a directory");
}

#[test]
fn what_came_is_not_replaced_by_what_comes() {
    let place = Place::new();
    let before = "it came before";
    place.refuses("a file twice", &[file("a"), file("a")], before);
    place.refuses("a link for a file", &[file("a"), link("a", "b")], before);
    place.refuses("a link for a directory", &[directory("a"), link("a", "b")], before);
    place.refuses("a file for a link", &[directory("d"), link("a", "d"), file("a")], before);
    place.refuses("a directory for a link", &[directory("d"), link("a", "d"), directory("a")], before);
    place.refuses("a directory twice", &[directory("a"), directory("a/")], before);
    place.refuses("itself twice", &[directory("./"), directory(".")], before);
}

#[test]
fn another_name_is_one_of_a_file_that_came() {
    let place = Place::new();
    let missing = "it is another name of a file that did not come before it";
    let out = "it leads out of what is copied";
    place.refuses("of what is above", &[same("a", "../file")], out);
    place.refuses("of what is anywhere", &[same("a", "/etc/passwd")], out);
    place.refuses("of what is here", &[same("a", "ours")], missing);
    place.refuses("of what comes later", &[same("a", "b"), file("b")], missing);
    place.refuses("of a link", &[directory("d"), link("l", "d"), same("a", "l")], missing);
    place.refuses("of a directory", &[directory("d"), same("a", "d")], missing);
    let through = [directory("d"), file("d/f"), link("l", "d"), same("a", "l/f")];
    place.refuses("through a link", &through, "what it is in is no directory");
}

#[test]
fn what_is_no_file_directory_or_link_is_refused() {
    let place = Place::new();
    for (kind, why) in [
        (EntryType::Char, "a device"),
        (EntryType::Block, "a device"),
        (EntryType::Fifo, "a named pipe"),
        (EntryType::GNUSparse, "with holes"),
        (EntryType::new(b'V'), "not understood"),
        (EntryType::new(b'M'), "not understood"),
    ] {
        place.refuses(why, &[member(kind, b"a", b"", 0o644, b"")], why);
    }
}

#[test]
fn an_archive_that_is_none_or_not_whole_is_refused() {
    let place = Place::new();
    let whole = archive(&[directory("./"), file("a"), link("l", "a"), file("b")]);
    for length in (0..whole.len() - 1024).step_by(61).chain((0..whole.len() - 1024).step_by(512)) {
        place.refuses_archive(&format!("{length} bytes of it"), &whole[..length], "is cut short");
    }
    place.refuses_archive("a line of a shell", &[b'x'; 2048], "is not understood");
    let sparse = member(EntryType::XHeader, b"x", b"", 0o644, b"22 GNU.sparse.major=1\n");
    place.refuses("with holes", &[sparse, file("a")], "with holes");
    for record in ["x", "5 a=", "999999 path=a\n", "9 path\n", "11 size=-1\n", "3 \n"] {
        let record = member(EntryType::XHeader, b"x", b"", 0o644, record.as_bytes());
        place.refuses("a record", &[record, file("a")], "a record in it is damaged");
    }
    let name = member(EntryType::GNULongName, b"x", b"", 0o644, &vec![b'a'; 70_000]);
    place.refuses("a long name", &[name, file("a")], "longer than any");
    let mut behind = archive(&[file("a")]);
    behind.extend(file("b"));
    place.refuses_archive("something behind its end", &behind, "behind its end");
    let mut large = Header::new_gnu();
    large.set_size(u64::MAX);
    large.set_cksum();
    place.refuses("a size", &[large.as_bytes().to_vec()], "larger than any");
    let mut damaged = archive(&[file("a")]);
    damaged[0] = b'b';
    place.refuses_archive("a damaged header", &damaged, "a header is damaged");
    place.refuses_archive("nothing at all", &[], "is cut short");
}

#[test]
fn of_what_is_copied_whole_nothing_else_comes() {
    let place = Place::new();
    let before = shape(place.0.path());
    let refused =
        |members: &[Vec<u8>]| land(&archive(members), &place.to(), Some("a"), Some("a")).unwrap_err();
    assert!(refused(&[file("b")]).to_string().contains("it is not what was asked for"));
    assert!(refused(&[directory("a"), file("b")]).to_string().contains("it is not what was asked for"));
    assert!(refused(&[file("a"), file("a/b")]).to_string().contains("no directory"));
    assert!(refused(&[link("a", "b")]).to_string().contains("is not copied with it"));
    assert!(refused(&[]).to_string().contains("the lease sent nothing"));
    assert_eq!(shape(place.0.path()), before);
    land(
        &archive(&[directory("a/"), link("a/l", "x/y"), same("./a/s", "a/f")]),
        &place.to(),
        Some("a"),
        Some("a"),
    )
    .unwrap_err();
    let good = archive(&[directory("a/"), file("./a/f"), link("a/l", "./x/y"), same("a/s", "a/f")]);
    let unpacked = land(&good, &place.to(), Some("a"), Some("a")).unwrap();
    assert_eq!((unpacked.files, unpacked.bytes), (3, 6));
    let here = shape(&place.to().join("a"));
    assert_eq!(here[Path::new("s")], b"644 theirs");
    assert_eq!(here[Path::new("l")], b"-> ./x/y");
}

#[test]
fn only_nine_bits_of_a_mode_come() {
    let place = Place::new();
    let with = |kind, name: &[u8], mode| member(kind, name, b"", mode, b"");
    let members = [with(EntryType::Regular, b"a", 0o6755), with(EntryType::Directory, b"d", 0o7555)];
    land(&archive(&members), &place.to(), None, None).unwrap();
    let here = shape(&place.to());
    assert_eq!(here[Path::new("a")], b"755 ");
    assert_eq!(here[Path::new("d")], b"555 directory");
    assert_eq!(fs::read_dir(place.to().join("d")).unwrap().count(), 0);
    assert_eq!(tree(&place.to())[Path::new("a")].1, 1_000_000_000);
}

#[test]
fn what_is_here_stays_unless_a_file_takes_its_place() {
    let place = Place::new();
    for path in ["dir/sub/ours", "dir/file"] {
        fs::create_dir_all(place.to().join(path).parent().unwrap()).unwrap();
        fs::write(place.to().join(path), "ours").unwrap();
    }
    symlink("ours", place.to().join("dir/link")).unwrap();
    let members = [
        directory("dir"),
        directory("dir/sub"),
        file("dir/sub/new"),
        file("dir/file"),
        file("dir/link"),
        file("way"),
        directory("dir/more"),
        file("dir/more/new"),
    ];
    land(&archive(&members), &place.to(), None, None).unwrap();
    let here = shape(&place.to());
    for (path, is) in [
        ("dir/sub/ours", "644 ours"),
        ("dir/sub/new", "644 theirs"),
        ("dir/file", "644 theirs"),
        // In the place of a link a file comes, and nothing through it.
        ("dir/link", "644 theirs"),
        ("way", "644 theirs"),
        ("dir/more/new", "644 theirs"),
        ("ours", "644 ours"),
    ] {
        assert_eq!(here[Path::new(path)], is.as_bytes(), "{path}");
    }
    // In the middle something does not fit: nothing changes.
    let before = shape(place.0.path());
    let members = [directory("dir"), file("dir/new"), file("dir/sub")];
    let error = land(&archive(&members), &place.to(), None, None).unwrap_err();
    assert!(error.message.contains("this is not a file"), "{error}");
    assert_eq!(shape(place.0.path()), before);
}

#[test]
fn whatever_a_lease_sends_nothing_outside_changes() {
    let good = archive(&[
        directory("./"),
        file("a"),
        directory("d"),
        link("d/l", "../a"),
        same("s", "a"),
        member(EntryType::XHeader, b"x", b"", 0o644, b"9 path=q\n19 mtime=1234567.5\n"),
        file("b"),
    ]);
    land(&good, &Place::new().to(), None, None).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..200 {
        let mut bytes = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(..bytes.len());
            bytes[at] = if random.bool() { b"./l0\0\xff"[random.usize(..6)] } else { random.u8(..) };
            // Let it be read although it was changed.
            let block = at / 512 * 512;
            let mut header = Header::from_byte_slice(&bytes[block..block + 512]).clone();
            if header.as_bytes().iter().any(|byte| *byte != 0) {
                header.set_cksum();
                bytes[block..block + 512].copy_from_slice(header.as_bytes());
            }
        }
        let place = Place::new();
        let others = || (shape(&place.path("outside")), fs::read(place.path("here/file")).unwrap());
        let before = others();
        match land(&bytes, &place.to(), None, None) {
            Ok(_) => taken += 1,
            Err(_) => refused += 1,
        }
        assert_eq!(others(), before);
        let left: Vec<_> =
            fs::read_dir(place.path("here")).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(left.len(), 2, "{left:?}");
        assert!(!shape(&place.to()).keys().any(|path| path.to_string_lossy().starts_with(".crabbox-cp-")));
    }
    assert!(taken > 20 && refused > 20, "{taken} {refused}");
}
