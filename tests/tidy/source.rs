//! A source file as the rules see it: what it refers to outside of its tests, and how long its functions are.

use std::path::Path;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// One file.
pub(super) struct Source {
    /// From the top of the repository, with `/`.
    pub(super) path: String,
    pub(super) text: String,
    tree: syn::File,
}

/// What code refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reference {
    /// A top module of this crate.
    Ours(String),
    /// Another crate, or something local that is named like one.
    Theirs(String),
    /// A method that is called.
    Call(String),
    /// A string literal.
    Text(String),
}

/// One function or method.
pub(super) struct Function {
    pub(super) name: String,
    pub(super) line: usize,
    pub(super) lines: usize,
}

/// Every file of the program, its tests and its benchmarks.
pub(super) fn all(top: &Path) -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in ["src", "tests", "benches"] {
        collect(top, Path::new(folder), &mut sources);
    }
    sources
}

fn collect(top: &Path, folder: &Path, sources: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(top.join(folder)) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let path = folder.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            collect(top, &path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(entry.path()).unwrap();
            sources.push(Source::parse(path.to_str().unwrap(), &text));
        }
    }
}

impl Source {
    pub(super) fn parse(path: &str, text: &str) -> Self {
        let tree = syn::parse_file(text).unwrap_or_else(|error| panic!("{path}: {error}"));
        Self { path: path.to_owned(), text: text.to_owned(), tree }
    }

    /// The top module that this file is a part of; `None` for tests and benchmarks, which are outside the house.
    pub(super) fn room(&self) -> Option<&str> {
        self.module_path().map(|path| path[0])
    }

    /// What `judge` has to say about the references of this file, with their lines.
    pub(super) fn complain(&self, judge: impl Fn(&Reference) -> Option<String>) -> Vec<String> {
        let Some(module) = self.module_path() else { return Vec::new() };
        let module = module.into_iter().map(str::to_owned).collect();
        let mut references = References { module, found: Vec::new() };
        references.visit_file(&self.tree);
        references.found.dedup();
        references
            .found
            .iter()
            .filter_map(|(line, reference)| Some(format!("{}:{line}: {}", self.path, judge(reference)?)))
            .collect()
    }

    /// Every function, those of tests too.
    pub(super) fn functions(&self) -> Vec<Function> {
        let mut functions = Functions(Vec::new());
        functions.visit_file(&self.tree);
        functions.0
    }

    /// `src/policy/compile/keys.rs` is `policy compile keys`.
    fn module_path(&self) -> Option<Vec<&str>> {
        let inside = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let path: Vec<&str> = inside.trim_end_matches("/mod").split('/').collect();
        (!path.contains(&"tests")).then_some(path)
    }
}

struct References {
    /// Where the code stands, for `super`.
    module: Vec<String>,
    found: Vec<(usize, Reference)>,
}

impl References {
    fn add(&mut self, span: Span, reference: Reference) {
        self.found.push((span.start().line, reference));
    }

    /// A path by its segments, of which the first two can matter.
    fn add_path(&mut self, span: Span, segments: &[String]) {
        let supers = segments.iter().take_while(|segment| *segment == "super").count();
        let reference = match segments {
            [first, room, ..] if first == "crate" => Reference::Ours(room.clone()),
            // Out of the room by the back door.
            [..] if supers > 0 && supers == self.module.len() => match segments.get(supers) {
                Some(room) => Reference::Ours(room.clone()),
                None => return,
            },
            [first, ..] if supers == 0 && first != "self" && first != "crate" => {
                Reference::Theirs(first.clone())
            }
            _ => return,
        };
        self.add(span, reference);
    }

    fn add_use(&mut self, tree: &syn::UseTree, before: &mut Vec<String>) {
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.add_use(&path.tree, before);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.add_use(tree, before);
                }
            }
            syn::UseTree::Name(syn::UseName { ident })
            | syn::UseTree::Rename(syn::UseRename { ident, .. }) => {
                let segments: Vec<String> = before.iter().cloned().chain([ident.to_string()]).collect();
                self.add_path(ident.span(), &segments);
            }
            syn::UseTree::Glob(glob) => self.add_path(glob.star_token.spans[0], before),
        }
    }

    /// What is written inside a macro call is tokens: paths are found by their colons.
    fn add_tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match &token {
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        path.clear();
                    }
                    path.push(ident.to_string());
                    if path.len() >= 2 {
                        self.add_path(ident.span(), &path);
                    }
                }
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<syn::LitStr>(&literal.to_string()) {
                        self.add(literal.span(), Reference::Text(text.value()));
                    }
                }
                TokenTree::Group(group) => self.add_tokens(group.stream()),
                TokenTree::Punct(_) => {}
            }
            let is_colon = matches!(&token, TokenTree::Punct(punct) if punct.as_char() == ':');
            colons = if is_colon { colons + 1 } else { 0 };
        }
    }
}

impl<'a> Visit<'a> for References {
    fn visit_item_use(&mut self, item: &'a syn::ItemUse) {
        if !is_for_tests(&item.attrs) {
            self.add_use(&item.tree, &mut Vec::new());
        }
    }

    fn visit_item_mod(&mut self, item: &'a syn::ItemMod) {
        if is_for_tests(&item.attrs) {
            return;
        }
        self.module.push(item.ident.to_string());
        visit::visit_item_mod(self, item);
        self.module.pop();
    }

    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        if !is_for_tests(&item.attrs) {
            visit::visit_item_fn(self, item);
        }
    }

    fn visit_path(&mut self, path: &'a syn::Path) {
        let segments: Vec<String> = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.add_path(path.segments[0].ident.span(), &segments);
        visit::visit_path(self, path);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.add(call.method.span(), Reference::Call(call.method.to_string()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_lit_str(&mut self, text: &'a syn::LitStr) {
        self.add(text.span(), Reference::Text(text.value()));
    }

    fn visit_macro(&mut self, call: &'a syn::Macro) {
        self.add_tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Whether `#[cfg(test)]` stands before it.
fn is_for_tests(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Ident>().is_ok_and(|condition| condition == "test")
    })
}

struct Functions(Vec<Function>);

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let line = signature.fn_token.span.start().line;
        let lines = body.brace_token.span.close().end().line + 1 - line;
        self.0.push(Function { name: signature.ident.to_string(), line, lines });
    }
}

impl<'a> Visit<'a> for Functions {
    fn visit_item_fn(&mut self, item: &'a syn::ItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'a syn::ImplItemFn) {
        self.add(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'a syn::TraitItemFn) {
        if let Some(body) = &item.default {
            self.add(&item.sig, body);
        }
        visit::visit_trait_item_fn(self, item);
    }
}
