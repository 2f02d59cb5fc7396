//! Reads the files below `vectors/`: blocks of `name = value` lines, separated by empty lines.

use std::collections::HashMap;

use data_encoding::HEXLOWER;

pub(crate) struct Block(HashMap<String, String>);

impl Block {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).unwrap_or_else(|| panic!("a block lacks {name}"))
    }

    pub(crate) fn bytes(&self, name: &str) -> Vec<u8> {
        HEXLOWER.decode(self.text(name).as_bytes()).unwrap()
    }

    pub(crate) fn array<const N: usize>(&self, name: &str) -> [u8; N] {
        self.bytes(name).try_into().unwrap()
    }

    pub(crate) fn list(&self, name: &str) -> Vec<Vec<u8>> {
        self.text(name).split(' ').map(|item| HEXLOWER.decode(item.as_bytes()).unwrap()).collect()
    }
}

pub(crate) fn read(text: &str) -> Vec<Block> {
    let blocks = text.split("\n\n").map(|block| {
        let lines = block.lines().filter(|line| !line.starts_with('#'));
        let pairs = lines.filter_map(|line| line.split_once('='));
        Block(pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect())
    });
    blocks.filter(|block| !block.0.is_empty()).collect()
}
